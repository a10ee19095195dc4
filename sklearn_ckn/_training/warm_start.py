"""What a second fit takes over from the first one."""

import numpy as np

from sklearn_ckn._network.parameters import resolve_layers

# Settings that the anchors cannot be separated from.
FIXED = ("patch_size", "subsampling", "kernel", "padding", "nystrom_reg")


def check_same_problem(estimator, before, images):
    """Raise unless images, classes and layers are those of the first fit.

    Parameters
    ----------
    estimator : SupervisedCKNClassifier
    before : dict
        Its attributes after the first fit.
    images : Images

    Raises
    ------
    ValueError
        They are others.
    """
    settings = resolve_layers(estimator.get_params(deep=False), images.shape)
    fitted = estimator.features_._network.settings
    wanted, had = (
        [[getattr(each, name) for name in FIXED] for each in layers]
        for layers in (settings, fitted)
    )
    if (
        images.shape != before["image_shape_"]
        or wanted != had
        or not np.array_equal(estimator.classes_, before["classes_"])
    ):
        raise ValueError(
            "warm_start=True goes on from the network of the first fit, but the "
            "shape of the images, the classes or the layers have changed: set "
            "warm_start=False to start anew."
        )


def same_split(known, origin, labels, units):
    """Return the rows that the first fit trained on and held out, or None.

    Others that would be held out have been trained on. None where the images cannot
    be the same.

    Parameters
    ----------
    known : tuple of int and ndarray, or None
        The number of images given to the first fit, and which of them it held out.
    origin : tuple of int and ndarray of shape (n,)
        The number of images given to this fit, and which of them have a positive
        weight: the rows.
    labels : ndarray of shape (n,)
    units : ndarray of shape (n,)
        What is not to be divided.

    Returns
    -------
    rows : tuple of ndarray, or None
    """
    n_before, held_out_before = known or (0, ())
    n_images, positions = origin
    held_out = np.flatnonzero(np.isin(positions, held_out_before))
    if n_before != n_images or len(held_out) == 0:
        return None
    train = np.setdiff1d(np.arange(len(positions)), held_out)
    divides = np.isin(units[held_out], units[train]).any()
    if divides or len(np.unique(labels[train])) < len(np.unique(labels)):
        return None
    return train, held_out
