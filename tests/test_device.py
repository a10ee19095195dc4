"""device="cuda" and "auto": the same models, and clear errors where there is no GPU."""

import pickle
import sys

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN
from sklearn.base import clone
from test_lazy_images import File

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
)
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda import CUDAEngine

IMAGES = np.random.RandomState(0).randn(20, 7, 6, 2)
ROWS = IMAGES.reshape(20, -1)
LABELS = np.arange(20) % 2
NETWORK = {"n_anchors": (4, 6), "n_patches": 200, "random_state": 0}
# Without the choice of a map, which takes long where a CPU stands for the GPU.
MIRRORED = {**PLAIN, "flip_average": True}

ESTIMATORS = {
    "features": CKNFeatures(**NETWORK),
    "flip_average": CKNFeatures(**NETWORK, flip_average=True, kmeans_max_iter=2),
    "normalize": CKNFeatures(
        **NETWORK, whitening=0.25, flip_average=True, normalize=0.5
    ),
    "ridge": CKNClassifier(**NETWORK),
    "linear_svm": CKNClassifier(**NETWORK, **PLAIN, head="linear_svm"),
    "logistic": CKNClassifier(**NETWORK, **PLAIN, head="logistic", alpha=1e-2),
    "regressor": CKNRegressor(**NETWORK),
    "supervised": SupervisedCKNClassifier(
        **NETWORK,
        **PLAIN,
        n_epochs=2,
        alpha=1e-2,
        learn_beta=True,
        augment="flip+shift",
    ),
    "flipped": SupervisedCKNClassifier(
        **NETWORK, **MIRRORED, n_epochs=1, alpha=1e-2, head="logistic"
    ),
    "kmeans": SphericalKMeans(3, random_state=0),
}
IMAGE_ESTIMATORS = sorted(set(ESTIMATORS) - {"kmeans"})


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy, or CuPy itself where a test runs on a GPU."""
    return fake_cupy.install(monkeypatch)


def new(name, **parameters):
    return clone(ESTIMATORS[name]).set_params(**parameters)


def data(name):
    """Return what the estimator of that name is fitted on."""
    y = LABELS + ROWS[:, 0] if name == "regressor" else LABELS
    return (ROWS if name == "kmeans" else IMAGES), y


def fit(name, **parameters):
    return new(name, **parameters).fit(*data(name))


def results(model, X):
    """Return what a model makes of X, by the names of its methods."""
    names = ["transform", "decision_function", "predict_proba", "predict_log_proba"]
    return {
        name: getattr(model, name)(X)
        for name in [*names, "predict"]
        if hasattr(model, name)
    }


def assert_same_results(left, right):
    for name, values in left.items():
        if name == "predict" and values.dtype.kind == "i":
            assert_array_equal(values, right[name])
        else:
            # The heads divide by alpha = 1e-10: 1e-16 grows to 1e-6.
            assert_allclose(values, right[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_same_model(name, cupy):
    on_cpu, on_gpu = fit(name), fit(name, device="cuda")
    X, _ = data(name)
    actual = results(on_gpu, X)
    assert all(isinstance(values, np.ndarray) for values in actual.values())
    assert_same_results(results(on_cpu, X), actual)
    # In a model there are NumPy arrays and numbers only.
    assert b"fake_cupy" not in pickle.dumps(on_gpu)
    if name in ("supervised", "flipped"):
        for key in set(on_cpu.history_) - {"seconds"}:
            assert_allclose(on_gpu.history_[key], on_cpu.history_[key], rtol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_arrays_stay_on_the_gpu(name, cupy, monkeypatch):
    X, y = data(name)
    on_gpu = cupy.asarray(X)
    model = new(name, device="auto").fit(on_gpu, y)
    expected = results(fit(name, device="cuda"), X)
    actual = results(model, on_gpu)
    for method, values in actual.items():
        assert isinstance(values, cupy.ndarray), method
        assert_allclose(values.get(), expected[method], rtol=1e-10, atol=1e-10)
    assert b"fake_cupy" not in pickle.dumps(model)


def test_no_round_trip(cupy, monkeypatch):
    model = fit("features", device="cuda")
    X = cupy.asarray(IMAGES)

    def refuse(self, *args, **kwargs):
        raise AssertionError("a copy to the CPU")

    monkeypatch.setattr(fake_cupy.ndarray, "get", refuse)
    assert isinstance(model.transform(X), cupy.ndarray)


def test_labels_may_be_on_the_gpu(cupy):
    model = new("ridge", device="cuda").fit(cupy.asarray(IMAGES), cupy.asarray(LABELS))
    assert isinstance(model.classes_, np.ndarray)
    assert_array_equal(model.predict(IMAGES), fit("ridge").predict(IMAGES))
    assert model.score(cupy.asarray(IMAGES), LABELS) == model.score(IMAGES, LABELS)


def test_same_seed_same_bits(cupy):
    left, right = (fit("supervised", device="cuda") for _ in range(2))
    for a, b in zip(left.features_.anchors_, right.features_.anchors_, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["features", "ridge", "supervised"])
def test_float32_agrees(name, cupy):
    X, y = IMAGES.astype("f4"), LABELS
    # One network, so that no seed falls on another patch by rounding.
    model = new(name).fit(X, y)
    on_cpu = results(model, X)
    on_gpu = results(model.set_params(device="cuda"), X)
    for method in {"transform", "decision_function"} & set(on_cpu):
        error = np.linalg.norm(on_gpu[method] - on_cpu[method])
        assert on_gpu[method].dtype == "f4"
        assert error <= 1e-5 * np.linalg.norm(on_cpu[method])
    if "predict" in on_cpu:
        assert_array_equal(on_gpu["predict"], on_cpu["predict"])


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i4"])
def test_dtypes(dtype, cupy):
    X = (100 * np.abs(IMAGES)).astype(dtype)
    model = CKNFeatures(**NETWORK, device="cuda").fit(X)
    features = model.transform(cupy.asarray(X))
    assert features.dtype == model.transform(X).dtype
    assert features.dtype == ("f4" if dtype in ("u1", "f4") else "f8")
    assert_allclose(features.get(), model.transform(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["ridge", "linear_svm", "logistic"])
def test_heads_follow_their_features(head, cupy):
    on_cpu = LinearPathClassifier(head).fit(ROWS, LABELS)
    on_gpu = LinearPathClassifier(head).fit(cupy.asarray(ROWS), LABELS)
    assert isinstance(on_gpu.coef_, np.ndarray)
    assert on_gpu.alpha_ == on_cpu.alpha_
    decisions = on_gpu.decision_function(cupy.asarray(ROWS))
    assert_allclose(decisions.get(), on_cpu.decision_function(ROWS), rtol=1e-4)


def test_regressor_follows_its_features(cupy):
    y = np.column_stack([ROWS[:, 0], LABELS])
    X = cupy.asarray(ROWS)
    on_cpu, on_gpu = (RidgePathRegressor().fit(each, y) for each in (ROWS, X))
    expected = on_cpu.predict(ROWS, return_std=True)
    actual = on_gpu.predict(X, return_std=True)
    for left, right in zip(expected, actual, strict=True):
        assert isinstance(right, cupy.ndarray)
        assert_allclose(right.get(), left, rtol=1e-6, atol=1e-9)
    assert on_gpu.score(X, y) == pytest.approx(on_cpu.score(ROWS, y))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:, :8]], ids=["wide", "narrow"])
@pytest.mark.parametrize("head", ["ridge", "linear_svm", "logistic"])
def test_weighted_repeated_and_grouped_rows_on_a_gpu(head, rows, cupy):
    # Twins of the same label and of another one, and rows without a weight.
    X, y = np.tile(rows, (3, 1)), np.r_[LABELS, LABELS, LABELS, 1]
    X, y = np.vstack([X, rows[:1]]), y.astype(float)
    weights = np.random.RandomState(0).randint(3, size=61)
    for options in ({}, {"groups": np.r_[np.tile(np.arange(20) // 2, 3), 0]}):
        for estimator in (LinearPathClassifier(head), RidgePathRegressor()):
            on_cpu, on_gpu = (
                type(estimator)(**estimator.get_params()).fit(
                    each, y, weights, **options
                )
                for each in (X, cupy.asarray(X))
            )
            assert on_gpu.alpha_ == on_cpu.alpha_
            assert_allclose(on_gpu.coef_, on_cpu.coef_, rtol=1e-4, atol=1e-7)


def test_weighted_clusters_on_a_gpu(cupy):
    X = np.vstack([ROWS, ROWS[:7], np.zeros((1, ROWS.shape[1]))])
    weights = np.random.RandomState(0).randint(3, size=28)
    on_cpu = SphericalKMeans(3, n_init=2, random_state=0)
    on_cpu.fit(X, sample_weight=weights)
    on_gpu = SphericalKMeans(3, n_init=2, random_state=0, device="cuda")
    on_gpu.fit(cupy.asarray(X), sample_weight=cupy.asarray(weights))
    assert_array_equal(on_gpu.labels_, on_cpu.labels_)
    assert_allclose(on_gpu.cluster_centers_, on_cpu.cluster_centers_)
    expected = on_cpu.score(X, sample_weight=weights)
    assert on_gpu.score(cupy.asarray(X), None, weights) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["ridge", "regressor", "supervised"])
def test_groups_of_images_on_a_gpu(name, cupy):
    images, labels = np.concatenate([IMAGES] * 3), np.tile(LABELS, 3)
    groups = np.tile(np.arange(20), 3)
    on_cpu, on_gpu = (
        new(name, device=device).fit(images, labels, groups=groups)
        for device in ("cpu", "cuda")
    )
    assert on_gpu.alpha_ == pytest.approx(on_cpu.alpha_)
    assert_allclose(on_gpu.alpha_scores_, on_cpu.alpha_scores_, rtol=1e-5, atol=1e-5)


def test_whitening_follows_its_images(cupy):
    X = cupy.asarray(IMAGES)
    on_cpu, on_gpu = PatchWhitening().fit(IMAGES), PatchWhitening().fit(X)
    assert_allclose(on_gpu.whitening_, on_cpu.whitening_, rtol=1e-10)
    whitened = on_gpu.transform(X)
    assert isinstance(whitened, cupy.ndarray)
    assert_allclose(whitened.get(), on_cpu.transform(IMAGES), atol=1e-10)


@pytest.mark.parametrize("name", ["ridge", "linear_svm", "regressor", "supervised"])
def test_features_that_the_gpu_has_no_room_for(name, cupy, monkeypatch):
    expected = results(fit(name, device="cuda"), IMAGES)
    monkeypatch.setattr(CUDAEngine, "has_room_for", lambda self, n_bytes: False)
    assert_same_results(expected, results(fit(name, device="cuda"), IMAGES))


def test_many_blocks(cupy, monkeypatch):
    model = fit("ridge", device="cuda")
    expected = results(model, IMAGES)
    features = model.features_.transform(IMAGES)
    # Some images a block: copies of both directions are under way at once.
    monkeypatch.setattr("sklearn_ckn._engine.cuda.MAX_BLOCK_BYTES", 2**16)
    assert_same_results(expected, results(model, IMAGES))
    assert_allclose(model.features_.transform(IMAGES), features, rtol=1e-12)


@pytest.mark.parametrize("kind", [CKNClassifier, CKNRegressor])
def test_streaming(kind, cupy):
    # More than the 54 features, some of them twice and some of weight 0.
    images = np.random.RandomState(1).randn(150, 7, 6, 2)[np.arange(150) % 130]
    labels, weights = np.arange(150) % 3, np.arange(150) % 5

    def fitted(X, **parameters):
        model = kind(**NETWORK, **PLAIN, alpha=[1e-2, 1e-3], **parameters)
        return model.fit(X, labels, sample_weight=weights)

    expected = fitted(images)
    for X in (images, cupy.asarray(images), File(images)):
        model = fitted(X, streaming=True, device="cuda")
        assert model.alpha_ == expected.alpha_
        # Float64 all the way, and 1 / alpha is 1000.
        assert_allclose(model.coef_, expected.coef_, rtol=1e-7, atol=1e-10)


def test_memory_keeps_numpy_arrays(cupy, tmp_path):
    models = [
        new("ridge", device="cuda", memory=str(tmp_path)).fit(X, LABELS)
        for X in (IMAGES, cupy.asarray(IMAGES))
    ]
    assert_array_equal(*(model.coef_ for model in models))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_cupy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        ImportError, match=r"sklearn-ckn\[cuda12\].*sklearn-ckn\[cuda13"
    ):
        fit(name, device="cuda")
    fitted = fit(name)
    before = vars(fitted).copy()
    fitted.set_params(device="cuda")
    with pytest.raises(ImportError, match="CuPy"):
        fitted.fit(*data(name))
    assert vars(fitted.set_params(device="cpu")) == before


@pytest.mark.parametrize(
    "n_devices", ["cudaErrorNoDevice", "cudaErrorInsufficientDriver", 0]
)
def test_without_a_gpu(n_devices, monkeypatch):
    fake_cupy.install(monkeypatch, n_devices=n_devices)
    message = n_devices if n_devices else "needs an NVIDIA GPU"
    with pytest.raises(RuntimeError, match=message):
        get_engine("cuda")
    assert isinstance(get_engine("auto"), CPUEngine)


@pytest.mark.parametrize("library", ["cublas", "cusolver"])
def test_without_the_libraries_of_cuda(library, monkeypatch):
    fake_cupy.install(monkeypatch, missing=(library,))
    with pytest.raises(ImportError, match=rf"{library}.*sklearn-ckn\[cuda12\]"):
        get_engine("cuda")


def test_auto_takes_a_gpu(cupy):
    assert isinstance(get_engine("auto"), CUDAEngine)
    assert isinstance(get_engine("cpu"), CPUEngine)


@pytest.mark.parametrize("name", IMAGE_ESTIMATORS)
def test_a_model_from_a_gpu_predicts_without_one(name, monkeypatch):
    with monkeypatch.context() as patch:
        fake_cupy.install(patch)
        saved = pickle.dumps(fit(name, device="cuda"))
    monkeypatch.setitem(sys.modules, "cupy", None)
    model = pickle.loads(saved)
    with pytest.warns(UserWarning, match="this model computes on the CPU"):
        actual = results(model, IMAGES)
    # No warning, and so no error, with these.
    for device in ("cpu", "auto"):
        again = results(model.set_params(device=device), IMAGES)
        for method, values in again.items():
            assert_array_equal(values, actual[method])
    assert_same_results(results(fit(name), IMAGES), actual)


@pytest.mark.parametrize("name", IMAGE_ESTIMATORS)
def test_a_model_from_the_cpu_predicts_on_a_gpu(name, cupy):
    model = fit(name)
    expected = results(model, IMAGES)
    model.set_params(device="cuda")
    assert_same_results(expected, results(model, IMAGES))
    on_gpu = results(model, cupy.asarray(IMAGES))
    assert_same_results(expected, {name: v.get() for name, v in on_gpu.items()})


def with_nan():
    X = IMAGES.copy()
    X[3, 2, 1, 0] = np.nan
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (with_nan(), "NaN or infinity"),
        (np.zeros((0, 7, 6, 2)), "one of shape"),
        (IMAGES.astype(complex), "real numbers"),
        (IMAGES[:, :5], r"fitted on images of shape \(7, 6, 2\)"),
        (IMAGES[:, 0, 0, 0], "one of shape"),
        (ROWS[:, :5], "features"),
    ],
)
def test_bad_arrays_on_the_gpu(X, message, cupy):
    model = fit("features", device="cuda")
    with pytest.raises(ValueError, match=message):
        model.transform(cupy.asarray(X))


def test_bad_labels_with_an_array_on_the_gpu(cupy):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        new("ridge", device="cuda").fit(cupy.asarray(IMAGES), LABELS[:5])
    with pytest.raises(ValueError, match="NaN"):
        new("regressor", device="cuda").fit(
            cupy.asarray(IMAGES), np.full(len(IMAGES), np.nan)
        )


def test_the_warning_of_the_cpu_names_the_line_that_calls(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    model = fit("features").set_params(device="cuda")
    with pytest.warns(UserWarning, match="computes on the CPU") as record:
        model.transform(IMAGES)
    assert record[0].filename == __file__
