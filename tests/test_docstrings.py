"""The examples in the docstrings run, and the docstrings are complete."""

import doctest
import inspect
import sys

import pytest

import sklearn_ckn
from sklearn_ckn import (
    AnchorsDisplay,
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    ContributionDisplay,
    FeatureMapDisplay,
    InconsistentVersionWarning,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
    TrainingDisplay,
    ckn_kernel,
    signals_to_images,
)

ESTIMATORS = [
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
]


DISPLAYS = [AnchorsDisplay, ContributionDisplay, FeatureMapDisplay, TrainingDisplay]


@pytest.mark.parametrize(
    "documented",
    [*ESTIMATORS, *DISPLAYS, InconsistentVersionWarning, ckn_kernel, signals_to_images],
)
def test_examples(documented):
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    module = sys.modules[documented.__module__]
    tests = finder.find(documented, documented.__name__, module=module)
    assert sum(len(test.examples) for test in tests) > 0
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_and_attribute_is_described(estimator):
    text = inspect.getdoc(estimator)
    parameters, attributes = text.split("Attributes\n---")
    fitted = estimator()
    small = {"n_anchors": 1, "n_clusters": 1, "image_shape": (1, 4)}
    known = fitted.get_params()
    fitted.set_params(**{name: small[name] for name in small if name in known})
    fitted.fit([[1.0, 2, 3, 4], [2.0, 3, 4, 1]] * 3, [0, 1] * 3)
    for name in fitted.get_params():
        assert f"{name} :" in parameters or f"{name}," in parameters, name
    names = [name for name in dir(fitted) if name.endswith("_") and name[0] != "_"]
    assert len(names) >= 5
    for name in names:
        assert f"{name} :" in attributes, name


@pytest.mark.parametrize(
    "function",
    [
        ckn_kernel,
        signals_to_images,
        *DISPLAYS,
        *(display.from_estimator for display in DISPLAYS),
        *(display.plot for display in DISPLAYS),
    ],
)
def test_every_parameter_of_a_function_is_described(function):
    text = inspect.getdoc(function)
    for name in set(inspect.signature(function).parameters) - {"self"}:
        assert f"\n{name} :" in text or f", {name} :" in text, name


def test_public_names_and_version():
    assert set(sklearn_ckn.__all__) == {
        "AnchorsDisplay",
        "CKNClassifier",
        "CKNFeatures",
        "CKNRegressor",
        "ContributionDisplay",
        "FeatureMapDisplay",
        "InconsistentVersionWarning",
        "LinearPathClassifier",
        "PatchWhitening",
        "RidgePathRegressor",
        "SphericalKMeans",
        "SupervisedCKNClassifier",
        "TrainingDisplay",
        "__version__",
        "ckn_kernel",
        "signals_to_images",
    }
    assert all(hasattr(sklearn_ckn, name) for name in sklearn_ckn.__all__)
    assert dir(sklearn_ckn) == sorted(sklearn_ckn.__all__)
