"""Warm start: a second fit continues with the network of the first one."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._network.constraints import CHOICE_CONSTRAINTS
from sklearn_ckn._network.parameters import resolve_layers

# Layer settings that must not change, because the anchors were trained with them.
FIXED = (
    "patch_size",
    "dilation",
    "subsampling",
    "kernel",
    "padding",
    "nystrom_reg",
)


@dataclass(frozen=True)
class EarlierFit:
    """The state of a fitted SupervisedCKNClassifier that a second fit continues from.

    Attributes
    ----------
    image_shape : tuple of int
    classes : ndarray
    epoch : int
        Number of the last epoch.
    feature_scale : float
        Scale of the features in the objective.
    split_of : tuple of int and ndarray
        Number of images given to the first fit, and positions of the held-out ones.
    """

    image_shape: tuple
    classes: np.ndarray
    epoch: int
    feature_scale: float
    split_of: tuple

    @classmethod
    def of(cls, model):
        """Return the EarlierFit of a model, or None if it is not fitted."""
        if not hasattr(model, "features_"):
            return None
        return cls(
            image_shape=model.image_shape_,
            classes=model.classes_,
            epoch=model.history_["epoch"][-1],
            feature_scale=model._feature_scale,
            # Models of version 0.1.0 did not store which images they held out.
            split_of=getattr(model, "_split_of", (0, ())),
        )

    def check_same_problem(self, model, images):
        """Raise if the image shape, classes or layers differ from the first fit.

        Parameters
        ----------
        model : SupervisedCKNClassifier
            Its ``classes_`` are already those of the second fit.
        images : Images

        Raises
        ------
        ValueError
            They differ.
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
            or any(
                getattr(model, name) not in ("auto", getattr(model, f"{name}_"))
                for name in CHOICE_CONSTRAINTS
            )
        ):
            raise ValueError(
                "warm_start=True goes on from the network of the first fit, but the "
                "shape of the images, the classes, the layers, whitening, "
                "flip_average or normalize have changed: set warm_start=False to start "
                "anew."
            )

    def same_split(self, origin, labels, units):
        """Return the split of the first fit, or None if it does not fit the images.

        None is returned if no row was held out, or if these cannot be the same images:
        their number differs, or the split would divide a unit or leave a class without
        training rows.

        Parameters
        ----------
        origin : tuple of int and ndarray of shape (n,)
            Number of images given to this fit, and positions of those with a positive
            weight, which are the rows.
        labels : ndarray of shape (n,)
            Positions of the classes.
        units : ndarray of shape (n,)
            Rows with the same number must not be divided by the split.

        Returns
        -------
        rows : tuple of ndarray, or None
            Training rows and held-out rows.
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
