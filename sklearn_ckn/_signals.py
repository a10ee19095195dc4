"""Signals: parameters that suit them, and their arrays in the shape of images."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_ckn._common.types import AnyArray

#: Parameters of CKNFeatures for signals. Few patches of few values are enough for the
#: anchors of each of many branches.
SIGNAL_PARAMETERS = {
    "n_anchors": 128,
    "patch_size": 9,
    "subsampling": "global",
    "n_patches": 10_000,
    "whitening": None,
    "flip_average": False,
    "normalize": 0.0,
    "branches": "signals",
}


class SignalsMixin:
    """Adds ``for_signals`` to an estimator with the parameters of CKNFeatures."""

    @classmethod
    def for_signals(cls, **parameters: Any) -> Self:
        """Return an estimator with parameters that suit signals, such as time series.

        Its networks side by side have one layer each, with 128 anchors of patches of 9
        samples of the signal or of its differences, at the dilations 1, 2, 4, ..., and
        the mean over the signal as pooling. Where in the signal a pattern lies makes
        therefore no difference, and neither does its level. Dilations and differences
        are those of MiniRocket and MultiRocket (Dempster et al., KDD 2021; Tan et al.,
        Data Mining and Knowledge Discovery 2022).

        Parameters
        ----------
        **parameters
            Other parameters, or other values.

        Returns
        -------
        estimator : CKNFeatures, CKNClassifier or CKNRegressor

        Raises
        ------
        TypeError
            The class has no ``branches``.
        """
        if "branches" not in cls._get_param_names():  # type: ignore[attr-defined]
            raise TypeError(
                f"{cls.__name__} trains a single network, without branches: use "
                "CKNClassifier.for_signals."
            )
        return cls(**{**SIGNAL_PARAMETERS, **parameters})


def signals_to_images(X: ArrayLike) -> AnyArray:
    """Convert signals to images of one row.

    Packages for time series have arrays of shape (n, n_channels, length). Estimators
    of this package would take such an array for images of one channel.

    Parameters
    ----------
    X : array-like of shape (n, length) or (n, n_channels, length)
        Signals of one length.

    Returns
    -------
    images : ndarray of shape (n, 1, length, n_channels)
        A view of X if X is an array.

    Raises
    ------
    ValueError
        X has another number of axes, or its signals have different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ckn import signals_to_images
    >>> signals_to_images(np.zeros((10, 3, 150))).shape
    (10, 1, 150, 3)
    """
    try:
        signals = np.asarray(X)
        is_ragged = signals.dtype == object and signals.ndim < 2
    except ValueError:
        is_ragged = True
    if is_ragged:
        raise ValueError(
            "X holds signals of different lengths or numbers of channels: cut or pad "
            "them to one length, or resample them, for example by numpy.interp."
        )
    if signals.ndim not in (2, 3):
        raise ValueError(
            "X must have the shape (n, length) or (n, n_channels, length), got "
            f"{signals.shape}."
        )
    if signals.ndim == 2:
        signals = signals[:, np.newaxis]
    return signals.transpose(0, 2, 1)[:, np.newaxis]
