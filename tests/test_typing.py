"""The public interface is annotated; mypy checks the annotations in .ci/run."""

import inspect
from pathlib import Path

import pytest

import sklearn_ckn


def public_functions():
    """Yield the names and functions of the public interface that are ours."""
    for name in sklearn_ckn.__all__:
        public = getattr(sklearn_ckn, name)
        if not inspect.isclass(public):
            if callable(public):
                yield name, public
            continue
        for cls in inspect.getmro(public):
            if cls.__module__.split(".")[0] != "sklearn_ckn":
                continue
            for attribute, value in vars(cls).items():
                if isinstance(value, property):
                    value = value.fget
                value = getattr(value, "__func__", value)
                is_public = attribute == "__init__" or attribute[0] != "_"
                if is_public and inspect.isfunction(value):
                    yield f"{cls.__name__}.{attribute}", value


FUNCTIONS = dict(public_functions())


def test_functions_are_found():
    assert {"ckn_kernel", "CKNFeatures.fit", "NetworkPredictor.coef_"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_annotated(name):
    signature = inspect.signature(FUNCTIONS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        if parameter.name not in ("self", "cls"):
            assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_marker_of_types_is_installed():
    assert Path(sklearn_ckn.__file__).with_name("py.typed").exists()
