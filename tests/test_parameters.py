"""Parameters and targets that make no sense: errors name them, or results are right."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
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
    ckn_kernel,
)

IMAGES = np.random.RandomState(0).rand(12, 4, 3)
ROWS = IMAGES.reshape(12, -1)
LABELS = np.arange(12) % 2
TARGETS = np.random.RandomState(1).rand(12)

small = {"n_anchors": (2, 2), "n_patches": 50, "random_state": 0}
ESTIMATORS = {
    "CKNFeatures": (CKNFeatures(**small), IMAGES, None),
    "CKNClassifier": (CKNClassifier(**small), IMAGES, LABELS),
    "CKNRegressor": (CKNRegressor(**small), IMAGES, TARGETS),
    "SupervisedCKNClassifier": (
        SupervisedCKNClassifier(**small, n_epochs=1, batch_size=6),
        IMAGES,
        LABELS,
    ),
    "PatchWhitening": (PatchWhitening(), IMAGES, None),
    "SphericalKMeans": (SphericalKMeans(2, random_state=0), ROWS, None),
    "LinearPathClassifier": (LinearPathClassifier(), ROWS, LABELS),
    "RidgePathRegressor": (RidgePathRegressor(), ROWS, TARGETS),
}
NAMES_OF_ROWS = ["SphericalKMeans", "LinearPathClassifier", "RidgePathRegressor"]
PARAMETERS = [
    (name, parameter)
    for name, (estimator, _, _) in ESTIMATORS.items()
    for parameter in estimator.get_params()
]

# Made anew for every test: a generator serves only once.
VALUES = {
    "set": lambda: {2, 3},
    "empty set": set,
    "dict": lambda: {2: 3},
    "array without axes": lambda: np.array(2),
    "array of a string without axes": lambda: np.array("exp"),
    "integer of NumPy": lambda: np.int64(2),
    "float of NumPy": lambda: np.float32(0.25),
    "boolean of NumPy": lambda: np.bool_(True),
    "string of NumPy": lambda: np.str_("auto"),
    "string": lambda: "nonsense",
    "bytes": lambda: b"auto",
    "boolean": lambda: True,
    "large": lambda: 10**30,
    "beyond the floats": lambda: 10**400,
    "large and negative": lambda: -(10**30),
    "infinity": lambda: np.inf,
    "NaN": lambda: np.nan,
    "negative": lambda: -1,
    "zero": lambda: 0,
    "complex": lambda: 1 + 2j,
    "tuple": lambda: (2, 2),
    "long tuple": lambda: (2, 2, 2, 2),
    "nested": lambda: ((1, 2), (3, 4)),
    "ragged": lambda: [[1, 2], [3]],
    "matrix": lambda: np.full((2, 2), 2),
    "array": lambda: np.array([2, 2]),
    "empty list": list,
    "sets in a tuple": lambda: ({1}, {2}),
    "Nones": lambda: (None, None),
    "large in a tuple": lambda: (10**400, 10**400),
    "infinities": lambda: (np.inf, np.inf),
    "object": object,
    "type": lambda: int,
    "generator": lambda: (i for i in (2, 2)),
}


def outputs(estimator, X):
    names = ("transform", "predict", "decision_function", "predict_proba")
    return [getattr(estimator, each)(X) for each in names if hasattr(estimator, each)]


def is_sensible(parameter, value):
    """Whether a value is a name of a folder, a function, or much work."""
    return (
        (parameter == "memory" and isinstance(value, str))
        or (parameter == "augment" and value is int)
        or (
            parameter in ("n_epochs", "n_init") and isinstance(value, int) and value > 1
        )
    )


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_strange_parameters(name, parameter, capsys):
    estimator, X, y = ESTIMATORS[name]
    for label, make_value in VALUES.items():
        value = make_value()
        if is_sensible(parameter, value):
            continue
        changed = clone(estimator)
        setattr(changed, parameter, value)
        message = None
        try:
            with warnings.catch_warnings():
                # Fewer anchors or patches than were asked for.
                warnings.filterwarnings("ignore", message=".*distinct patches")
                warnings.filterwarnings("ignore", message="patch_size=.* makes patches")
                changed.fit(X, y)
        except (TypeError, ValueError) as error:
            message = str(error)
        if message is not None:
            assert parameter in message, label
            continue
        for output in outputs(changed, X):
            assert output.dtype.kind != "f" or np.isfinite(output).all(), label


@pytest.mark.parametrize("as_array", [False, True], ids=["scalar", "array"])
def test_numpy_values_are_as_good_as_python_values(as_array):
    wrap = np.array if as_array else lambda value: np.array(value)[()]
    expected = CKNFeatures(
        4,
        patch_size=2,
        subsampling=2,
        kernel="poly",
        beta=2.0,
        padding="valid",
        nystrom_reg=0.5,
        random_state=0,
    ).fit(IMAGES)
    features = CKNFeatures(
        wrap(4),
        patch_size=wrap(2),
        subsampling=wrap(2),
        kernel=wrap("poly"),
        beta=wrap(2.0),
        padding=wrap("valid"),
        nystrom_reg=wrap(0.5),
        random_state=0,
    ).fit(IMAGES)
    assert_array_equal(features.transform(IMAGES), expected.transform(IMAGES))
    shaped = CKNFeatures(4, image_shape=np.array([4, 3]), random_state=0)
    assert shaped.fit(ROWS).image_shape_ == (4, 3, 1)


@pytest.mark.parametrize(
    "parameter",
    [
        "patch_size",
        "dilation",
        "subsampling",
        "kernel",
        "beta",
        "padding",
        "n_layers",
    ],
)
def test_strange_parameters_of_the_kernel(parameter):
    for label, make_value in VALUES.items():
        message = None
        try:
            K = ckn_kernel(IMAGES[:3], **{parameter: make_value()})
        except (TypeError, ValueError) as error:
            message = str(error)
        if message is None:
            assert np.isfinite(K).all(), label
        else:
            assert parameter in message, label


def test_patches_larger_than_memory():
    for size in (10**4, 2**31 - 1):
        with pytest.raises(ValueError, match=r"patch_size=.*use smaller"):
            CKNFeatures(2, patch_size=size).fit(IMAGES)


WITH_TARGETS = [name for name, (_, _, y) in ESTIMATORS.items() if y is not None]


def with_target(value):
    return [value if i == 3 else i % 2 for i in range(12)]


MISSING = {
    "None": with_target(None),
    "None in an array": np.array(with_target(None), dtype=object),
    "NaN": with_target(np.nan),
    "NaN in an array of objects": np.array(with_target(np.nan), dtype=object),
    "NaN in floats": np.array(with_target(np.nan)),
    "NA": pd.Series(with_target(pd.NA)),
    "NA of integers": pd.Series(with_target(pd.NA), dtype="Int64"),
    "NA of strings": pd.Series(["a", "b", None] * 4, dtype="string"),
    "category": pd.Series(["a", "b", None] * 4, dtype="category"),
    "None beside strings": ["a", "b", None] * 4,
    "NaN beside strings": np.array(["a", "b", np.nan] * 4, dtype=object),
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("name", WITH_TARGETS)
def test_missing_targets(name, missing):
    estimator, X, _ = ESTIMATORS[name]
    with pytest.raises(ValueError, match="Input y contains NaN"):
        clone(estimator).fit(X, MISSING[missing])


@pytest.mark.parametrize("wrap", [list, lambda y: np.array(y, dtype=object)])
@pytest.mark.parametrize("name", WITH_TARGETS)
def test_strings_beside_numbers(name, wrap):
    estimator, X, _ = ESTIMATORS[name]
    with pytest.raises(ValueError, match=r"y holds strings and other.*'a' and 0"):
        clone(estimator).fit(X, wrap(with_target("a")))


@pytest.mark.parametrize(
    "y",
    [
        ["a", "b"] * 6,
        [object() for _ in range(12)],
        with_target([1, 2]),
        np.array(["2020-01-01"] * 12, dtype="M8[D]"),
        np.zeros(12, dtype=[("a", int)]),
    ],
    ids=["strings", "objects", "lists", "dates", "records"],
)
@pytest.mark.parametrize("name", ["CKNRegressor", "RidgePathRegressor"])
def test_targets_that_are_no_numbers(name, y):
    estimator, X, _ = ESTIMATORS[name]
    with pytest.raises(ValueError, match="y must hold numbers for a regression"):
        clone(estimator).fit(X, y)


@pytest.mark.parametrize("name", ["CKNClassifier", "LinearPathClassifier"])
def test_labels_near_the_largest_float(name):
    estimator, X, y = ESTIMATORS[name]
    labels = np.where(y, 1.0, -1.0) * 2.0**1000
    # No integer of 64 bits: scikit-learn takes them for targets, without a warning.
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        clone(estimator).fit(X, labels)


@pytest.mark.parametrize("name", ["CKNRegressor", "RidgePathRegressor"])
def test_numbers_in_objects_and_strings(name):
    estimator, X, y = ESTIMATORS[name]
    expected = clone(estimator).fit(X, y).predict(X)
    for given in (y.astype(object), pd.Series(y, dtype="Float64"), y.tolist()):
        assert_array_equal(clone(estimator).fit(X, given).predict(X), expected)


def test_large_limits_of_integers():
    features = CKNFeatures(2, n_patches=10**30, kmeans_max_iter=1, random_state=0)
    expected = CKNFeatures(2, kmeans_max_iter=1, random_state=0).fit(IMAGES)
    assert_array_equal(features.fit(IMAGES).anchors_[0], expected.anchors_[0])


@pytest.mark.parametrize("method", ["fit", "score"])
@pytest.mark.parametrize("name", NAMES_OF_ROWS)
def test_sparse_rows_are_refused(name, method):
    estimator, X, y = ESTIMATORS[name]
    fitted = clone(estimator).fit(X, y)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        getattr(fitted, method)(csr_array(X), y)
