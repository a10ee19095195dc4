"""Pickles of estimators: they store the version of the package that wrote them."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, ClassVar

import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import (
    InconsistentVersionWarning as SklearnInconsistentVersionWarning,
)

from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._version import __version__

#: Key of the version in the state of an estimator, besides its attributes.
VERSION_KEY = "_sklearn_ckn_version"


class InconsistentVersionWarning(SklearnInconsistentVersionWarning):
    """Warns of an estimator that another version of sklearn-ckn pickled.

    A subclass of :class:`sklearn.exceptions.InconsistentVersionWarning`, which warns
    of scikit-learn's own estimators: a filter on that class catches both. Its
    ``original_sklearn_version`` is ``"unknown"``, since the pickles of sklearn-ckn
    hold the version of sklearn-ckn alone.

    Parameters
    ----------
    estimator_name : str
    current_version : str
        The version of sklearn-ckn that unpickles.
    original_version : str
        The version of sklearn-ckn that pickled.

    Examples
    --------
    Refuse the estimators of other versions:

    >>> import pickle
    >>> import warnings
    >>> from sklearn_ckn import CKNFeatures, InconsistentVersionWarning
    >>> pickled = pickle.dumps(CKNFeatures())
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", InconsistentVersionWarning)
    ...     features = pickle.loads(pickled)
    """

    def __init__(
        self, *, estimator_name: str, current_version: str, original_version: str
    ) -> None:
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=sklearn.__version__,
            original_sklearn_version="unknown",
        )
        self.current_version = current_version
        self.original_version = original_version

    def __str__(self) -> str:
        return (
            f"{self.estimator_name} was pickled by version {self.original_version} of "
            f"sklearn-ckn and is unpickled by version {self.current_version}. Its "
            "predictions may differ, or fail: compare them with stored ones, or fit "
            "it again."
        )


class VersionedEstimator(BaseEstimator):
    """Base class of estimators whose pickles store the version of the package.

    The BaseEstimator of scikit-learn stores a version only for its own estimators.
    """

    #: Attributes that were renamed since version 0.1.0, from the old name to the new.
    _renamed_attributes: ClassVar[Mapping[str, str]] = {}

    def __getstate__(self):
        return {**super().__getstate__(), VERSION_KEY: __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop(VERSION_KEY, "unknown")
        if version != __version__:
            warn_user(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_version=__version__,
                    original_version=version,
                )
            )
        state = self._translate_state(state)
        super().__setstate__({**self._new_parameters(state), **state})

    @classmethod
    def _translate_state(cls, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state with the names and meanings that attributes have now."""
        return {cls._renamed_attributes.get(name, name): state[name] for name in state}

    @classmethod
    def _new_parameters(cls, state):
        """Return the defaults of parameters that the pickling version did not have."""
        parameters = signature(cls).parameters
        return {
            name: parameters[name].default
            for name in cls._get_param_names()
            if name not in state
        }
