"""Types of the public interface, and decorators that preserve them."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from joblib import Memory
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.utils._param_validation import validate_params

Value = TypeVar("Value")
Function = TypeVar("Function", bound=Callable[..., Any])

#: One value for all layers or one for each.
PerLayer: TypeAlias = Value | Sequence[Value]
OrAuto: TypeAlias = Value | Literal["auto"]

Alpha: TypeAlias = float | Literal["auto"] | Sequence[float] | NDArray[Any]
AnyArray: TypeAlias = NDArray[Any]
ClassWeight: TypeAlias = Mapping[Any, float] | Literal["balanced"] | None
#: Parameters of networks side by side.
Branches: TypeAlias = Sequence[Mapping[str, Any]] | Literal["signals"] | None
#: A number of folds, a splitter of scikit-learn, which has no types, or pairs of rows.
CrossValidation: TypeAlias = Any
Device: TypeAlias = Literal["cpu", "cuda", "auto"]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
Loss: TypeAlias = Literal["ridge", "linear_svm", "logistic"]
#: A head is named by its loss.
Augmentation: TypeAlias = (
    Literal["flip", "shift", "flip+shift"]
    | Callable[
        [NDArray[np.floating[Any]], np.random.RandomState], NDArray[np.floating[Any]]
    ]
    | None
)
Head: TypeAlias = Loss
ImageShape: TypeAlias = tuple[int, int] | tuple[int, int, int] | Sequence[int] | None
Kernel: TypeAlias = Literal["exp", "poly", "arccos1"]
MemoryLike: TypeAlias = str | PathLike[str] | Memory | None
Padding: TypeAlias = Literal["same", "valid"]
RandomState: TypeAlias = int | np.random.RandomState | None
Subsampling: TypeAlias = int | Literal["auto", "global"]


def fit_context(method: Function) -> Function:
    """Decorate a ``fit`` with scikit-learn's checks of parameters; keep its types."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


def validated(constraints: Mapping[str, Any]) -> Callable[[Function], Function]:
    """Return scikit-learn's decorator that checks arguments; it keeps the types."""
    return validate_params(constraints, prefer_skip_nested_validation=True)
