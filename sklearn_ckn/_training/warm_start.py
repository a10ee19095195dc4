"""A second fit that goes on from the network of the first: ``warm_start``."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._network.parameters import resolve_layers

# Settings that the anchors cannot be separated from.
FIXED = ("patch_size", "subsampling", "kernel", "padding", "nystrom_reg")


@dataclass(frozen=True)
class EarlierFit:
    """What a second fit of a SupervisedCKNClassifier takes over from the first.

    Attributes
    ----------
    image_shape : tuple of int
    classes : ndarray
    epoch : int
        Number of the last epoch.
    feature_scale : float
        Scale of the features in the objective.
    split_of : tuple of int and ndarray
        The number of images given to the first fit, and which of them it held out.
    """

    image_shape: tuple
    classes: np.ndarray
    epoch: int
    feature_scale: float
    split_of: tuple

    @classmethod
    def of(cls, model):
        """Return what a model has of an earlier fit; None if it has not been fitted."""
        if not hasattr(model, "features_"):
            return None
        return cls(
            image_shape=model.image_shape_,
            classes=model.classes_,
            epoch=model.history_["epoch"][-1],
            feature_scale=model._feature_scale,
            # Models of version 0.1.0 do not know which images they held out.
            split_of=getattr(model, "_split_of", (0, ())),
        )

    def check_same_problem(self, model, images):
        """Raise unless images, classes and layers are those of the first fit.

        Parameters
        ----------
        model : SupervisedCKNClassifier
            With the classes of the second fit.
        images : Images

        Raises
        ------
        ValueError
            They are others.
        """
        settings = resolve_layers(model.get_params(deep=False), images.shape)
        fitted = model.features_._network.settings
        wanted, had = (
            [[getattr(each, name) for name in FIXED] for each in layers]
            for layers in (settings, fitted)
        )
        if (
            images.shape != self.image_shape
            or wanted != had
            or not np.array_equal(model.classes_, self.classes)
        ):
            raise ValueError(
                "warm_start=True goes on from the network of the first fit, but the "
                "shape of the images, the classes or the layers have changed: set "
                "warm_start=False to start anew."
            )

    def same_split(self, origin, labels, units):
        """Return the rows that the first fit trained on and held out, or None.

        None where the images cannot be the same.

        Parameters
        ----------
        origin : tuple of int and ndarray of shape (n,)
            The number of images given to this fit, and which of them have a positive
            weight: the rows.
        labels : ndarray of shape (n,)
            Positions of the classes.
        units : ndarray of shape (n,)
            Equal for images that are not to be divided.

        Returns
        -------
        rows : tuple of ndarray, or None
        """
        n_before, held_out_before = self.split_of
        n_images, positions = origin
        held_out = np.flatnonzero(np.isin(positions, held_out_before))
        if n_before != n_images or len(held_out) == 0:
            return None
        train = np.setdiff1d(np.arange(len(positions)), held_out)
        divides = np.isin(units[held_out], units[train]).any()
        if divides or len(np.unique(labels[train])) < len(np.unique(labels)):
            return None
        return train, held_out
