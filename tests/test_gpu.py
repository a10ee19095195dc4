"""The tests of the GPU path, on a GPU: with CuPy in the place of its stand-in."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_digits

# Tests with the fixtures of this module.
from test_cuda_kernels import (  # noqa: F401
    test_differentiate,
    test_fold,
    test_respond_and_pool,
    test_sum_groups,
    test_unfold,
)
from test_device import (  # noqa: F401
    test_a_model_from_the_cpu_predicts_on_a_gpu,
    test_arrays_stay_on_the_gpu,
    test_auto_takes_a_gpu,
    test_bad_arrays_on_the_gpu,
    test_bad_labels_with_an_array_on_the_gpu,
    test_dtypes,
    test_features_that_the_gpu_has_no_room_for,
    test_float32_agrees,
    test_heads_follow_their_features,
    test_labels_may_be_on_the_gpu,
    test_many_blocks,
    test_memory_keeps_numpy_arrays,
    test_regressor_follows_its_features,
    test_same_model,
    test_same_seed_same_bits,
    test_streaming,
    test_whitening_follows_its_images,
)
from test_gpu_limits import (  # noqa: F401
    test_decompositions_that_fail,
    test_pinned_buffers_have_few_sizes,
    test_sums_of_squares_of_any_unit,
    test_the_cpu_learns_a_layer_that_the_gpu_has_no_room_for,
)
from test_gpu_memory import (  # noqa: F401
    test_a_loop_that_is_left_early,
    test_blocks_go_to_the_gpu_and_back,
)
from test_where_results_live import (  # noqa: F401
    test_labels_that_cupy_cannot_hold,
    test_results_follow_x,
    test_targets_and_weights_anywhere,
)

from sklearn_ckn import CKNClassifier, SupervisedCKNClassifier
from sklearn_ckn._engine.cuda_steps import CudaSteps

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    """CuPy, where it sees a GPU."""
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("no GPU")
    return cupy


@pytest.fixture
def cupy(gpu):
    return gpu


@pytest.fixture(scope="module")
def steps(gpu):
    return CudaSteps(gpu)


def test_digits(gpu):
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype("f4")
    models = [
        CKNClassifier(random_state=0, device=device).fit(images[:1200], labels[:1200])
        for device in ("cpu", "cuda")
    ]
    features = [model.features_.transform(images[1200:]) for model in models]
    decisions = [model.decision_function(images[1200:]) for model in models]
    assert_allclose(*features, atol=1e-4 * np.abs(features[0]).max())
    assert np.mean(decisions[0].argmax(1) == decisions[1].argmax(1)) > 0.99


def test_signals(gpu):
    # Patches with gaps, centred ones, ones that keep their norms, and means of maps.
    rng = np.random.RandomState(0)
    signals = rng.randn(300, 1, 90, 2).astype("f4").cumsum(axis=2)
    labels = np.arange(300) % 2
    models = [
        CKNClassifier.for_signals(random_state=0, device=device).fit(signals, labels)
        for device in ("cpu", "cuda")
    ]
    features = [model.features_.transform(signals) for model in models]
    assert_allclose(*features, atol=1e-4 * np.abs(features[0]).max())


def test_training_of_dilated_and_global_layers(gpu):
    images = np.random.RandomState(0).randn(256, 12, 12, 2).astype("f4")
    labels = np.arange(256) % 3
    settings = {"patch_size": 3, "dilation": [1, 2], "subsampling": [2, "global"]}
    decisions = [
        SupervisedCKNClassifier(
            (16, 16), **settings, n_epochs=2, random_state=0, device=device
        )
        .fit(images, labels)
        .decision_function(images)
        for device in ("cpu", "cuda")
    ]
    # Rounding of a few steps in float32.
    assert_allclose(*decisions, atol=1e-2 * np.abs(decisions[0]).max())


def test_memory_running_out(gpu):
    # A pool so small that blocks must be small, and the same features.
    images = np.random.RandomState(0).randn(2000, 16, 16, 3).astype("f4")
    model = CKNClassifier((64, 64), n_patches=5000, random_state=0, device="cuda")
    labels = np.arange(2000) % 2
    expected = model.fit(images[:200], labels[:200]).features_.transform(images)
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=64 * 2**20)
    try:
        assert_allclose(model.features_.transform(images), expected, atol=1e-5)
        # Whatever does not fit is computed otherwise.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* by the CPU, since its arrays")
            limited = clone(model).fit(images, labels)
    finally:
        pool.set_limit(size=0)
    score = model.fit(images, labels).score(images, labels)
    assert limited.score(images, labels) == pytest.approx(score, abs=0.05)
