"""Fitted attributes: those of an earlier fit are kept on errors, and properties."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


@contextmanager
def keep_fitted_on_error(estimator):
    """Put an estimator's attributes back when fitting it fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class fitted_property(property, Generic[Value]):  # noqa: N801
    """A property that is computed from fitted attributes.

    Before the fit it is missing, and the error names the class and the property that
    the user asked for, not what the property is computed from.
    """

    def __init__(self, function: Callable[[Any], Value]) -> None:
        super().__init__(function)
        self._name = function.__name__

    @overload
    def __get__(self, estimator: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, estimator: object, owner: type | None = None) -> Value: ...

    def __get__(self, estimator: Any, owner: type | None = None) -> Self | Value:
        try:
            return super().__get__(estimator, owner)
        except AttributeError as error:
            raise AttributeError(
                f"{type(estimator).__name__!r} object has no attribute {self._name!r} "
                "before it is fitted",
                name=self._name,
                obj=estimator,
            ) from error
