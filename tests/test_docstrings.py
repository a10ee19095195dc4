"""The examples in the docstrings run, and the docstrings are complete."""

import doctest
import inspect
import sys

import pytest

import sklearn_ckn
from sklearn_ckn import CKNClassifier, CKNFeatures, PatchWhitening, SphericalKMeans

ESTIMATORS = [CKNClassifier, CKNFeatures, PatchWhitening, SphericalKMeans]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_examples(estimator):
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    module = sys.modules[estimator.__module__]
    tests = finder.find(estimator, estimator.__name__, module=module)
    assert sum(len(test.examples) for test in tests) > 0
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_and_attribute_is_described(estimator):
    text = inspect.getdoc(estimator)
    parameters, attributes = text.split("Attributes\n---")
    fitted = estimator(n_clusters=1) if estimator is SphericalKMeans else estimator(1)
    fitted.set_params(
        **({} if estimator is SphericalKMeans else {"image_shape": (1, 4)})
    )
    fitted.fit([[1.0, 2, 3, 4], [2.0, 3, 4, 1]] * 3, [0, 1] * 3)
    for name in fitted.get_params():
        assert f"{name} :" in parameters or f"{name}," in parameters, name
    names = [name for name in dir(fitted) if name.endswith("_") and name[0] != "_"]
    assert len(names) >= 5
    for name in names:
        assert f"{name} :" in attributes, name


def test_public_names_and_version():
    assert set(sklearn_ckn.__all__) == {
        "CKNClassifier",
        "CKNFeatures",
        "PatchWhitening",
        "SphericalKMeans",
        "__version__",
    }
    assert all(hasattr(sklearn_ckn, name) for name in sklearn_ckn.__all__)
