"""CKNFeatures: parameters, fitted attributes, degenerate images, memory."""

import tracemalloc

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNFeatures
from sklearn_ckn._network.kernels import kernel_values
from sklearn_ckn._network.unfold import unfold

IMAGES = np.random.RandomState(0).randn(20, 9, 7, 2)


def make(**parameters):
    return CKNFeatures(**{"n_anchors": (8, 10), "random_state": 0, **parameters})


def test_fitted_attributes():
    features = make(beta=(1.5, 2.5), kmeans_max_iter=4, kmeans_tol=0.0).fit(IMAGES)
    assert [anchors.shape for anchors in features.anchors_] == [(8, 18), (10, 72)]
    for anchors in features.anchors_:
        assert_allclose(np.linalg.norm(anchors, axis=1), 1, rtol=1e-12)
    assert features.betas_ == [1.5, 2.5]
    assert features.subsampling_ == [2, 2]
    assert features.image_shape_ == (9, 7, 2)
    assert features.output_shape_ == (3, 2, 10)
    assert features.n_iter_ == max(features.n_iter_per_layer_)
    assert all(2 <= n_iter <= 5 for n_iter in features.n_iter_per_layer_)
    assert len(features.n_iter_per_layer_) == len(features.inertia_) == 2
    assert all(inertia > 0 for inertia in features.inertia_)
    assert all(0 < residual < 1 for residual in features.nystrom_residual_)
    assert features.transform(IMAGES).shape == (20, 3 * 2 * 10)


def test_scalars_mean_every_layer():
    one = make(patch_size=2, beta=1.5, kernel="poly", padding="valid").fit(IMAGES)
    two = make(
        patch_size=(2, 2), beta=[1.5, 1.5], kernel=("poly",) * 2, padding=["valid"] * 2
    ).fit(IMAGES)
    assert_array_equal(one.transform(IMAGES), two.transform(IMAGES))


def test_an_integer_is_one_layer():
    one, same = make(n_anchors=8).fit(IMAGES), make(n_anchors=(8,)).fit(IMAGES)
    assert len(one.anchors_) == 1
    assert_array_equal(one.transform(IMAGES), same.transform(IMAGES))


@pytest.mark.parametrize(
    ("n_anchors", "shape", "parameters", "expected"),
    [
        ((4, 4), (28, 28), {}, [2, 5]),
        ((4, 4), (32, 20), {}, [2, 6]),
        ((4, 4), (32, 20), {"subsampling": (2, "auto")}, [2, 6]),
        (4, (8, 8), {}, [3]),
        ((4, 4, 4), (28, 28), {}, [2, 2, 3]),
        ((4, 4), (28, 28), {"subsampling": ("auto", 1)}, [10, 1]),
        ((4, 4), (28, 28), {"subsampling": 3}, [3, 3]),
        ((4, 4), (28, 28), {"subsampling": "global"}, [2, "global"]),
        ((4, 2), (28, 28), {"subsampling": ("global", "auto")}, ["global", 1]),
        ((4, 4), (28, 28), {"padding": "valid", "patch_size": 5}, [2, 3]),
        (4, (1, 1), {}, [1]),
    ],
)
def test_automatic_subsampling(n_anchors, shape, parameters, expected):
    images = np.random.RandomState(0).randn(3, *shape, 3)
    features = make(n_anchors=n_anchors, n_patches=200, **parameters)
    if shape == (1, 1):
        with pytest.warns(UserWarning, match="distinct"):
            features.fit(images)
    else:
        features.fit(images)
    assert features.subsampling_ == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_size": (3, 3, 3)}, "patch_size has 3 values and n_anchors has 2"),
        ({"subsampling": (2,)}, "subsampling has 1 values and n_anchors has 2"),
        ({"kernel": ("exp",) * 4}, "kernel has 4 values and n_anchors has 2"),
        ({"n_anchors": ()}, "n_anchors is empty"),
        ({"n_anchors": (8, 0)}, r"n_anchors\[1\] must be an integer of at least 1"),
        ({"n_anchors": (8, 2.5)}, r"n_anchors\[1\] must be an integer"),
        ({"patch_size": (3, -1)}, r"patch_size\[1\] must be an integer"),
        ({"patch_size": 0}, "patch_size"),
        ({"dilation": 0}, "dilation"),
        ({"dilation": (1, 2, 3)}, "dilation has 3 values and n_anchors has 2"),
        ({"dilation": (2, 1.5)}, r"dilation\[1\] must be an integer"),
        ({"subsampling": ("auto", "half")}, r'subsampling\[1\] must be .* "auto"'),
        ({"kernel": ("exp", "rbf")}, r"kernel\[1\] must be one of exp"),
        ({"kernel": "rbf"}, "kernel"),
        ({"beta": 0.0}, "beta"),
        ({"beta": -1.0}, "beta"),
        ({"beta": (1.0, np.nan)}, r"beta\[1\] must be a positive number"),
        ({"beta": (1.0, np.inf)}, r"beta\[1\] must be a positive number"),
        ({"padding": ("same", "full")}, r'padding\[1\] must be "same" or "valid"'),
        ({"nystrom_reg": 0.0}, "nystrom_reg"),
        ({"nystrom_reg": (1e-3, 0.0)}, r"nystrom_reg\[1\]"),
        ({"n_patches": 0}, "n_patches"),
        ({"kmeans_max_iter": -1}, "kmeans_max_iter"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_bad_parameters(parameters, message, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._learning.layers.sample_patches", None)
    with pytest.raises(ValueError, match=message):
        make(**parameters).fit(IMAGES)


def test_max_iter_0_keeps_patches():
    features = make(n_anchors=30, kmeans_max_iter=0).fit(IMAGES)
    patches = unfold(IMAGES, features._network.layers[0].settings)
    patches = patches.reshape(-1, patches.shape[-1])
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    assert features.n_iter_ == 1
    assert_allclose((features.anchors_[0] @ patches.T).max(axis=1), 1, rtol=1e-12)


def test_nystrom_residual_is_what_it_says():
    features = make(n_anchors=6, kernel="arccos1").fit(IMAGES)
    (layer,) = features._network.layers
    patches = unfold(IMAGES, layer.settings)
    patches = patches.reshape(-1, patches.shape[-1])
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    psi = kernel_values(patches @ layer.anchors.T, "arccos1", 1.0) @ layer.projection
    expected = 1 - np.mean(np.sum(psi**2, axis=1))
    # All 1,260 patches are sampled, none of them is dropped.
    assert_allclose(features.nystrom_residual_[0], expected, rtol=1e-9)


def test_more_anchors_lower_the_residual():
    residuals = [
        make(n_anchors=p, patch_size=2).fit(IMAGES).nystrom_residual_[0]
        for p in (4, 16, 64, 256)
    ]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < residuals[0] / 2


def test_more_anchors_than_distinct_patches():
    images = np.zeros((4, 3, 3))
    images[:, 1, 1] = [1, 2, 3, 4]
    # A single bright pixel gives nine directions, whatever its brightness.
    with pytest.warns(UserWarning, match="9 distinct patches.*n_anchors=50") as record:
        features = make(n_anchors=50).fit(images)
    assert record[0].filename == __file__
    assert features.anchors_[0].shape == (9, 9)
    assert features.output_shape_ == (3, 3, 9)
    assert np.isfinite(features.transform(images)).all()


@pytest.mark.filterwarnings("ignore:.*distinct patches:UserWarning")
@pytest.mark.filterwarnings("ignore:patch_size=. makes patches:UserWarning")
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
@pytest.mark.parametrize(
    "images",
    [
        np.zeros((3, 6, 6, 2)),
        np.full((3, 6, 6, 2), 7),
        np.ones((1, 6, 6, 1)),
        np.ones((5, 1, 1, 1)),
        np.arange(24).reshape(4, 1, 2, 3),
        np.arange(40).reshape(2, 1, 20, 1),
    ],
    ids=["zero", "constant", "one image", "one pixel", "small", "signal"],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("patch_size", [1, 3, 4])
def test_degenerate_images_give_finite_features(images, dtype, padding, patch_size):
    images = images.astype(dtype)
    features = make(padding=padding, patch_size=patch_size).fit(images)
    output = features.transform(images)
    assert np.isfinite(output).all()
    assert output.shape == (len(images), np.prod(features.output_shape_))
    assert output.any() == images.any()
    assert all(0 <= residual <= 1 for residual in features.nystrom_residual_)


def test_zero_patches_give_zero():
    features = make(n_anchors=8, subsampling=1).fit(IMAGES)
    image = np.zeros((1, 9, 7, 2))
    image[0, 0, 0] = 1
    maps = features.transform(image).reshape(9, 7, 8)
    reached = maps.any(axis=2)
    assert reached[:2, :2].all()
    assert reached.sum() == 4


def test_memory_does_not_grow_with_the_images():
    images = np.random.RandomState(0).randint(256, size=(40_000, 8, 8)).astype("u1")
    features = make(n_anchors=(2, 3), n_patches=1000).fit(images[:500])
    with sklearn.config_context(working_memory=1):
        tracemalloc.start()
        output = features.transform(images)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # The output, the block's input, its scaled copy and its maps in and out, all
    # of less than working_memory. One float32 copy of the images takes 10 MB.
    assert peak < output.nbytes + 5 * 2**20


def test_verbose(capsys):
    make(verbose=1).fit(IMAGES)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "layer 1 ... 10 anchors of 72 values" in lines[1]
    make(verbose=2, kmeans_max_iter=2, kmeans_tol=0.0).fit(IMAGES)
    assert capsys.readouterr().out.count("k-means iteration ") == 4


def test_feature_names_and_output_containers():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    features = make(n_anchors=4, subsampling=4).fit(IMAGES)
    names = [f"cknfeatures{i}" for i in range(3 * 2 * 4)]
    assert features.get_feature_names_out().tolist() == names
    for container, module in (("pandas", pandas), ("polars", polars)):
        frame = features.set_output(transform=container).transform(IMAGES)
        assert isinstance(frame, module.DataFrame)
        assert list(frame.columns) == names
