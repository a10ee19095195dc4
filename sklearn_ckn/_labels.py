"""Class labels, checked before any long work."""

import numpy as np
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets


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
