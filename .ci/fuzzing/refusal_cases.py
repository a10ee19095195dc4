"""Cases of what must be refused, or else be computed rightly: parameters and input."""

import re

import numpy as np
from checks import check_fitted, check_same, require, watched_warnings
from head_cases import silent
from scipy.sparse import csr_array

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

ESTIMATORS = {
    "CKNFeatures": CKNFeatures,
    "CKNClassifier": CKNClassifier,
    "CKNRegressor": CKNRegressor,
    "SupervisedCKNClassifier": SupervisedCKNClassifier,
    "PatchWhitening": PatchWhitening,
    "LinearPathClassifier": LinearPathClassifier,
    "RidgePathRegressor": RidgePathRegressor,
    "SphericalKMeans": SphericalKMeans,
}

#: Parameters that make fits quick.
QUICK = {
    "n_anchors": (4, 5),
    "n_patches": 100,
    "n_epochs": 1,
    "n_clusters": 3,
    "random_state": 0,
}

#: Numbers of runs or threads that are good, and take too long.
MUCH = (10**9, 2**31, 10**30)

#: Good for no parameter: each must be refused by its name.
NEVER = (
    {1, 2},
    {"a": 1},
    {},
    object(),
    np.nan,
    -1,
    -0.5,
    1j,
    b"bytes",
    "nonsense",
    (),
    [[1, 2], [3]],
    np.array([]),
    np.array(["a", "b"]),
    (1, "a"),
    (None, None),
    [np.nan, 1],
    range(0),
)

#: Good for some parameters: refused by name, or a right result.
PERHAPS = (
    0,
    1,
    1.5,
    True,
    None,
    "auto",
    (1, 2),
    [1, 2],
    np.array(2),
    np.array(0.5),
    np.array([1, 2]),
    np.float32(0.5),
    np.int8(2),
    np.inf,
    1e300,
    1e-300,
    5e-324,
    10**30,
    10**9,
    2**31,
    (10**9, 1),
    range(1, 3),
)

#: What values of ``NEVER`` some parameters take after all.
TAKES = {
    "class_weight": lambda value: isinstance(value, dict) and not value,
    "verbose": lambda value: isinstance(value, int),
    "memory": lambda value: isinstance(value, str),
    "random_state": lambda value: False,
}

#: Not tried: they start threads, print, or make files anywhere.
LEFT_OUT = {"memory", "verbose", "device", "augment"}


def problem(name):
    """Return X and y that every estimator can be fitted on."""
    rng = np.random.default_rng(0)
    if name in ("LinearPathClassifier", "RidgePathRegressor", "SphericalKMeans"):
        return rng.standard_normal((12, 4)), np.arange(12) % 2
    return rng.random((12, 5, 4, 2)), np.arange(12) % 2


def make(name, **parameters):
    """Return a quick estimator with some parameters."""
    known = ESTIMATORS[name]().get_params()
    quick = {key: value for key, value in QUICK.items() if key in known}
    return ESTIMATORS[name](**{**quick, **parameters})


def check_kept(estimator, X, y, bad_X, bad_y):
    """Check that a failing fit raises and leaves what was fitted; return the error."""
    before = vars(estimator).copy()
    try:
        estimator.fit(bad_X, bad_y)
    except (ValueError, TypeError) as error:
        after = vars(estimator)
        require(
            before.keys() == after.keys()
            and all(before[key] is after[key] for key in before),
            "a failed fit changed what was fitted",
        )
        return error
    return None


def check_bad_parameter(rng, name):
    """Set one parameter to what is seldom good."""
    names = sorted(set(ESTIMATORS[name]().get_params()) - LEFT_OUT)
    parameter = names[rng.integers(len(names))]
    never = rng.random() < 0.6
    values = NEVER if never else PERHAPS
    value = values[rng.integers(len(values))]
    if parameter == "n_init" and not isinstance(value, np.ndarray) and value in MUCH:
        return None
    X, y = problem(name)
    estimator = make(name)
    silent(estimator.fit, X, y)
    estimator.set_params(**{parameter: value})
    what = f"{parameter}={value!r}"
    with watched_warnings():
        try:
            error = check_kept(estimator, X, y, X, y)
        except Exception as other:
            raise AssertionError(f"{what}: {type(other).__name__}: {other}") from other
        if error is None:
            takes = TAKES.get(parameter, lambda value: False)
            require(not never or takes(value), f"{what} is accepted")
            check_fitted(estimator)
            return None
    # Many anchors are many channels of the next layer's patches.
    named = f"{parameter}|patch_size" if parameter == "n_anchors" else parameter
    require(
        re.search(rf"\b({named})\b", str(error)),
        f"{what}: the error does not name it: {error}",
    )
    return "refused"


def _bad_inputs(X, y):
    """Yield a name and X and y that must be refused."""
    nan, infinite = X.copy(), X.copy()
    nan.flat[3] = np.nan
    infinite.flat[3] = np.inf
    flat = X.reshape(len(X), -1)
    yield "NaN", nan, y
    yield "inf", infinite, y
    yield "complex", X * 1j, y
    yield "strings", np.full(X.shape, "a"), y
    yield "objects", np.full(X.shape, None), y
    yield "sparse", csr_array(flat), y
    yield "no rows", X[:0], y[:0]
    yield "no columns", flat[:, :0], y
    yield "a number", 3.0, y
    yield "None", None, y
    yield "text", "image", y
    yield "a set", {1, 2}, y
    yield "a dict", {"X": X}, y
    yield "0-d", np.array(3.0), y
    yield "1-d", flat[:, 0], y
    yield "5 axes", X.reshape(len(X), *([1] * 3), -1), y
    yield "ragged", [X[0], X[1][:1]], y[:2]


def _bad_targets(X, y):
    yield "fewer", X, y[:-1]
    yield "None", X, None
    yield "NaN", X, np.where(y > 0, np.nan, 1.0)
    yield "inf", X, np.where(y > 0, np.inf, 1.0)
    yield "None among them", X, np.where(y > 0, None, "a")
    yield "0-d", X, np.array(1)
    yield "a dict", X, {"a": 1}
    yield "a set", X, {0, 1}
    yield "complex", X, y * 1j
    yield "three axes", X, np.zeros((len(X), 2, 2))
    yield "no columns", X, np.zeros((len(X), 0))


def check_bad_input(rng, name):
    """Fit on X or y that must be refused."""
    X, y = problem(name)
    cases = list(_bad_inputs(X, y))
    takes_y = name not in ("CKNFeatures", "PatchWhitening", "SphericalKMeans")
    if takes_y:
        targets = list(_bad_targets(X, y))
        if "Regressor" not in name:
            targets += [("one class", X, y * 0), ("real", X, y + 0.5 * np.pi)]
        cases += targets
    what, bad_X, bad_y = cases[rng.integers(len(cases))]
    if what == "5 axes" and X.ndim == 2:
        bad_X = X.reshape(len(X), 2, 2)
    estimator = make(name)
    silent(estimator.fit, X, y)
    expected = silent(
        estimator.predict if hasattr(estimator, "predict") else estimator.transform, X
    )
    try:
        with watched_warnings():
            error = check_kept(estimator, X, y, bad_X, bad_y)
    except AssertionError:
        raise
    except Exception as other:
        raise AssertionError(f"{what}: {type(other).__name__}: {other}") from other
    if error is None:
        # scikit-learn turns columns of numbers as text into numbers, and no more.
        raise AssertionError(f"{what} is accepted")
    require(str(error), f"{what}: an error without words")
    actual = silent(
        estimator.predict if hasattr(estimator, "predict") else estimator.transform, X
    )
    check_same(actual, expected, "predictions after a failed fit")
    return "refused"


def check_bad_kernel(rng):
    """Try a bad parameter of ckn_kernel."""
    X = np.random.default_rng(0).random((4, 5, 4, 2))
    parameters = ["n_layers", "patch_size", "dilation", "subsampling", "kernel", "beta"]
    parameters += ["padding", "image_shape", "n_jobs"]
    parameter = parameters[rng.integers(len(parameters))]
    never = rng.random() < 0.6
    values = NEVER if never else PERHAPS
    value = values[rng.integers(len(values))]
    is_array = isinstance(value, np.ndarray)
    if parameter == "n_jobs" and not is_array and value in (-1, True, *MUCH):
        return None
    what = f"{parameter}={value!r}"
    with watched_warnings():
        try:
            K = ckn_kernel(X, **{parameter: value})
        except (ValueError, TypeError) as error:
            require(
                re.search(rf"\b{parameter}\b|memory", str(error)),
                f"{what}: the error does not name it: {error}",
            )
            return "refused"
        except Exception as other:
            raise AssertionError(f"{what}: {type(other).__name__}: {other}") from other
    require(not never, f"{what} is accepted")
    require(np.isfinite(K).all(), f"{what}: the kernel is not finite")
    return None


def check_refusals(rng, name):
    """Try a bad parameter or bad input."""
    if name == "ckn_kernel":
        return check_bad_kernel(rng)
    if rng.random() < 0.6:
        return check_bad_parameter(rng, name)
    return check_bad_input(rng, name)
