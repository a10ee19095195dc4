"""Results follow X; ``device`` says where an X of NumPy is computed."""

import inspect
import pickle

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

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

IMAGES = np.random.RandomState(0).randn(12, 5, 5, 1)
ROWS = IMAGES.reshape(12, -1)
LABELS = np.arange(12) % 3
TARGETS = np.column_stack([ROWS[:, 0], LABELS])
NETWORK = {"n_anchors": (3,), "n_patches": 50, "random_state": 0}

# With the X and the y that each is fitted on.
ESTIMATORS = {
    "features": (CKNFeatures(**NETWORK), IMAGES, None),
    "classifier": (CKNClassifier(**NETWORK, alpha=1e-2), IMAGES, LABELS),
    "supervised": (
        SupervisedCKNClassifier(**NETWORK, alpha=1e-2, n_epochs=1),
        IMAGES,
        LABELS,
    ),
    "regressor": (CKNRegressor(**NETWORK, alpha=1e-2), IMAGES, TARGETS),
    "linear": (LinearPathClassifier(alpha=1e-2), ROWS, LABELS),
    "ridge": (RidgePathRegressor(alpha=1e-2), ROWS, TARGETS),
    "kmeans": (SphericalKMeans(3, random_state=0), ROWS, None),
    "whitening": (PatchWhitening(), IMAGES, None),
}
DEVICES = [
    (name, device)
    for name, (estimator, _, _) in ESTIMATORS.items()
    for device in ("cpu", "cuda", "auto")
    if device == "cpu" or "device" in estimator.get_params()
]


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy, or CuPy itself where a test runs on a GPU."""
    return fake_cupy.install(monkeypatch)


def new(name, device="cpu"):
    estimator = clone(ESTIMATORS[name][0])
    has_device = "device" in estimator.get_params()
    return estimator.set_params(device=device) if has_device else estimator


def methods_of_x(estimator):
    """Return the names of all public methods that take X, ``fit`` first."""
    names = [
        name
        for name, _ in inspect.getmembers(type(estimator), inspect.isfunction)
        if not name.startswith("_")
        and "X" in inspect.signature(getattr(estimator, name)).parameters
    ]
    return sorted(names, key=lambda name: (not name.startswith("fit"), name))


def call(estimator, method, X, y):
    """Return what a method makes of X, as a tuple of arrays; () for a fit or score."""
    method = getattr(estimator, method)
    parameters = inspect.signature(method).parameters
    options = {"return_std": True} if "return_std" in parameters else {}
    result = method(X, y, **options) if "y" in parameters else method(X, **options)
    if result is estimator or isinstance(result, float):
        return ()
    return result if isinstance(result, tuple) else (result,)


def all_results(name, X, y, device="cpu"):
    """Return the results of all methods, by their names."""
    estimator = new(name, device)
    return {
        method: call(estimator, method, X, y) for method in methods_of_x(estimator)
    }, estimator


def test_methods_are_found():
    assert methods_of_x(SphericalKMeans()) == [
        "fit",
        "fit_predict",
        "fit_transform",
        "predict",
        "score",
        "transform",
    ]


@pytest.mark.parametrize(("name", "device"), DEVICES)
def test_results_follow_x(name, device, cupy):
    _, X, y = ESTIMATORS[name]
    on_cpu, _ = all_results(name, X, y, device)
    on_gpu, estimator = all_results(name, cupy.asarray(X), y, device)
    assert list(on_gpu) == list(on_cpu)
    assert sum(map(len, on_cpu.values())) > 0
    for method, arrays in on_cpu.items():
        for expected, actual in zip(arrays, on_gpu[method], strict=True):
            assert isinstance(expected, np.ndarray), method
            assert isinstance(actual, cupy.ndarray), method
            assert actual.dtype == expected.dtype
            assert_allclose(actual.get(), expected, rtol=1e-6, atol=1e-8)
    # In a model there are NumPy arrays and numbers only.
    assert b"cupy" not in pickle.dumps(estimator)


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("name", ["features", "kmeans", "whitening"])
def test_no_data_frame_holds_an_array_of_cupy(name, container, cupy):
    _, X, y = ESTIMATORS[name]
    model = new(name).fit(X, y)
    expected = model.transform(X)
    for Xi in (X, X.reshape(len(X), -1)):
        on_gpu = cupy.asarray(Xi)
        model.set_output(transform=container)
        for result in (model.transform(on_gpu), model.fit_transform(on_gpu)):
            assert isinstance(result, cupy.ndarray)
            result = result.get().reshape(expected.shape)
            assert_allclose(result, expected, rtol=1e-6, atol=1e-8)
        model.set_params(**({"image_shape": (5, 5)} if name != "kmeans" else {}))


@pytest.mark.parametrize(("name", "device"), DEVICES)
def test_x_on_another_gpu_than_the_current_one(name, device, cupy):
    _, X, y = ESTIMATORS[name]
    expected, _ = all_results(name, cupy.asarray(X), y, device)
    with cupy.cuda.Device(1):
        X = cupy.asarray(X)
    actual, _ = all_results(name, X, y, device)
    for method, arrays in actual.items():
        for array, own in zip(arrays, expected[method], strict=True):
            assert array.device.id == 1, method
            assert own.device.id == 0, method
            assert_array_equal(array.get(), own.get())
    assert cupy.cuda.Device().id == 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_current_gpu_is_the_same_after_an_error(name, cupy):
    _, X, y = ESTIMATORS[name]
    model = new(name).fit(X, y)
    with cupy.cuda.Device(1):
        X = cupy.asarray(np.full_like(X, np.nan))
    for method in methods_of_x(model):
        with pytest.raises(ValueError, match="NaN or infinity"):
            call(model, method, X, y)
        assert cupy.cuda.Device().id == 0


@pytest.mark.parametrize("name", ["classifier", "supervised", "regressor", "ridge"])
def test_a_model_of_one_gpu_on_another(name, cupy):
    _, X, y = ESTIMATORS[name]
    model = new(name, "cuda").fit(X, y)
    expected = model.predict(X)
    for number in (0, 1, 0):
        with cupy.cuda.Device(number):
            X = cupy.asarray(ESTIMATORS[name][1])
        predicted = model.predict(X)
        assert predicted.device.id == number
        assert_allclose(predicted.get(), expected, rtol=1e-10)


@pytest.mark.parametrize("gpu_of_x", [None, 0])
@pytest.mark.parametrize("name", ["classifier", "supervised", "regressor"])
def test_targets_and_weights_anywhere(name, gpu_of_x, cupy):
    _, X, y = ESTIMATORS[name]
    expected = new(name).fit(X, y, groups=np.arange(12) // 2)
    images = X if gpu_of_x is None else cupy.asarray(X)
    model = new(name).fit(
        images, cupy.asarray(y), groups=cupy.asarray(np.arange(12) // 2)
    )
    assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-10)
    weights = np.arange(1.0, 13.0)
    score = model.score(images, cupy.asarray(y), cupy.asarray(weights))
    assert score == pytest.approx(expected.score(X, y, weights))
    expected.fit(X, y, sample_weight=weights)
    model.fit(images, cupy.asarray(y), sample_weight=cupy.asarray(weights))
    assert_allclose(model.coef_, expected.coef_, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", ["linear", "ridge", "kmeans"])
def test_targets_and_weights_on_another_gpu(name, cupy):
    _, X, y = ESTIMATORS[name]
    weights = np.arange(1.0, 13.0)
    options = {"sample_weight": weights}
    expected = new(name).fit(X, y, **options)
    with cupy.cuda.Device(1):
        weights = cupy.asarray(weights)
        targets = None if y is None else cupy.asarray(y)
    for rows in (X, cupy.asarray(X)):
        model = new(name).fit(rows, targets, sample_weight=weights)
        score = model.score(rows, targets, weights)
        assert score == pytest.approx(expected.score(X, y, **options))


@pytest.mark.parametrize(
    ("labels", "stays"),
    [
        (np.array(["a", "b", "c"]), False),
        (np.array(["a", "b", "c"], dtype=object), False),
        (np.array([0.0, 1.0, 3.0], "f4"), True),
        (np.array([-1, 0, 7], "i1"), True),
        (np.array([3, 2**62, 2**63], "u8"), True),
        (np.array([1, 2, 3], ">i4"), True),
        (np.array([1, 2, 3], "g"), np.dtype("g").itemsize <= 8),
    ],
    ids=lambda value: getattr(value, "dtype", value),
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_that_cupy_cannot_hold(labels, stays, n_classes, cupy):
    y = labels[np.arange(12) % n_classes]
    expected = new("linear").fit(ROWS, y).predict(ROWS)
    on_gpu = cupy.asarray(ROWS)
    model = new("linear").fit(on_gpu, y)
    predicted = model.predict(on_gpu)
    assert isinstance(predicted, cupy.ndarray if stays else np.ndarray)
    predicted = predicted.get() if stays else predicted
    assert predicted.dtype == expected.dtype.newbyteorder("=")
    assert_array_equal(predicted, expected)
    assert model.score(on_gpu, y) == 1


def test_labels_that_are_truth_values(cupy):
    on_gpu = cupy.asarray(ROWS)
    predicted = new("linear").fit(on_gpu, LABELS > 0).predict(on_gpu)
    assert predicted.dtype == bool
    assert_array_equal(predicted.get(), LABELS > 0)


def test_an_array_of_cupy_needs_the_libraries_of_cuda(monkeypatch):
    cupy = fake_cupy.install(monkeypatch, missing=("cublas",))
    # The CPU could not compute with it.
    with pytest.raises(ImportError, match="cublas"):
        new("features", "cpu").fit(cupy.asarray(IMAGES))
