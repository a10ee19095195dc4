"""Class labels and targets, checked before any long work."""

import numpy as np
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets


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
    """Raise for entries of y of which scikit-learn would not say what is wrong.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_targets)
    numeric : bool
        Whether y must hold numbers, for a regression.

    Raises
    ------
    ValueError
        Values are missing, strings stand beside other values, or there are no numbers
        for a regression.
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


def encode_labels(y, class_weight):
    """Turn labels into positions of classes and sample weights.

    Parameters
    ----------
    y : ndarray of shape (n,)
    class_weight : dict, "balanced" or None

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    labels : ndarray of shape (n,), int
        Positions in ``classes``.
    weights : ndarray of shape (n,), float64
        The weights of the samples' classes.

    Raises
    ------
    ValueError
        y holds no labels, or one class only; a class has no positive weight.
    """
    # scikit-learn compares labels with integers, which the largest floats overflow.
    with np.errstate(invalid="ignore"):
        check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "y has one class only; a classifier needs samples of two classes or more."
        )
    class_weights = compute_class_weight(class_weight, classes=classes, y=y)
    if not (np.isfinite(class_weights).all() and (class_weights > 0).all()):
        raise ValueError(
            f"class_weight must give every class a positive weight, got "
            f"{class_weight!r}. Leave the samples of a class out of X and y to give "
            "them none."
        )
    return classes, labels, class_weights[labels]
