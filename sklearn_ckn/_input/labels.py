"""Class labels and real targets: checks, and the encoding of labels."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets

CLASS_WEIGHT_CONSTRAINT = [dict, StrOptions({"balanced"}), None]


def _is_missing(value):
    """Whether a value is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # NA is neither true nor false.
        return True
    except ValueError:  # An array.
        return False


def refuse_targets(y, *, numeric):
    """Raise for values in y that scikit-learn refuses without a clear message.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_targets)
    numeric : bool
        Whether y must hold numbers, for a regression.

    Raises
    ------
    ValueError
        Values are missing, strings are mixed with other values, or values for a
        regression are not numbers.
    """
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        if numeric and dtype.kind in "mMV":
            raise ValueError(f"y must hold numbers for a regression, got {dtype}.")
        return
    values = np.asarray(y, dtype=object)
    if values.ndim == 0 or values.size == 0:
        return
    flat = values.ravel()
    for i, value in enumerate(flat):
        if _is_missing(value):
            position = i * len(values) // len(flat)
            raise ValueError(
                f"Input y contains NaN or another missing value, {value!r} at "
                f"position {position}: leave its sample out of X and y."
            )
    strings = [isinstance(value, str) for value in flat]
    if any(strings) and not all(strings):
        string, other = flat[strings.index(True)], flat[strings.index(False)]
        raise ValueError(
            f"y holds strings and other values, such as {string!r} and {other!r}: "
            "give all of them one type."
        )
    if numeric:
        try:
            values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"y must hold numbers for a regression: {error}."
            ) from error


@dataclass(frozen=True)
class Labels:
    """The classes of n samples, and the weights of the samples.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted; two classes or more.
    positions : ndarray of shape (n,), intp
        The class of each sample, as its position in ``classes``; 0 for samples of
        weight 0.
    weights : ndarray of shape (n,), float64
        Sample weights, divided by the largest one, times the weights of the classes.
    """

    classes: np.ndarray
    positions: np.ndarray
    weights: np.ndarray

    def __getitem__(self, rows):
        """Return the labels of some of the samples, with all classes."""
        return replace(self, positions=self.positions[rows], weights=self.weights[rows])


def encode_labels(y, class_weight, sample_weight=None):
    """Check labels and encode them as positions of classes, with weights.

    Parameters
    ----------
    y : ndarray of shape (n,)
    class_weight : dict, "balanced" or None
    sample_weight : ndarray of shape (n,) or None, default=None
        Samples with the weight 0 are ignored.

    Returns
    -------
    labels : Labels

    Raises
    ------
    ValueError
        y does not hold labels, or only one class; a class has no positive weight.
    """
    # scikit-learn converts labels to integers, which overflows for the largest floats.
    with np.errstate(invalid="ignore"):
        check_classification_targets(y)
    weights = np.ones(len(y))
    if sample_weight is not None:
        weights = sample_weight / sample_weight.max()
    is_there = weights > 0
    classes, own = np.unique(y[is_there], return_inverse=True)
    if len(classes) < 2:
        left = "" if is_there.all() else " among the samples of positive weight"
        raise ValueError(
            f"y has one class only{left}; a classifier needs samples of two classes or "
            "more."
        )
    positions = np.zeros(len(y), dtype=np.intp)
    positions[is_there] = own
    if isinstance(class_weight, str):
        totals = np.bincount(own, weights[is_there])
        class_weights = totals.sum() / (len(classes) * totals)
    else:
        class_weights = compute_class_weight(
            class_weight, classes=classes, y=y[is_there]
        )
    if not (np.isfinite(class_weights).all() and (class_weights > 0).all()):
        raise ValueError(
            f"class_weight must give every class a positive weight, got "
            f"{class_weight!r}. Leave the samples of a class out of X and y to give "
            "them none."
        )
    return Labels(classes, positions, weights * class_weights[positions])
