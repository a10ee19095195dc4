"""What scikit-learn's output containers and feature names mean for images."""

from functools import wraps

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.types import AnyArray, Class


def wrap_rows_only(cls: Class) -> Class:
    """Decorate a transformer whose output may be images: ``set_output`` is for rows.

    scikit-learn puts whatever ``transform`` and ``fit_transform`` return into a data
    frame, which has two axes. Images have more and are returned as they are, so that
    the next step of a pipeline gets them.
    """
    for name in ("transform", "fit_transform"):
        setattr(cls, name, _wrap_rows(getattr(cls, name).__wrapped__))
    return cls


def _wrap_rows(method):
    """Return a method that puts rows into the container that was asked for."""

    @wraps(method)
    def wrapped(self, X, *args, **options):
        output = method(self, X, *args, **options)
        if getattr(output, "ndim", 2) > 2:
            return output
        return _wrap_data_with_container("transform", output, X, self)

    return wrapped


class PixelNamesMixin:
    """Names of features for transformers whose input may be one column of images.

    To stand before scikit-learn's mixin that makes the names.
    """

    n_features_in_: int

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> AnyArray:
        """Return names of the columns of what ``transform`` makes of rows.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the pixels, checked as elsewhere in scikit-learn; a single name,
            as of a column of images, stands for all of them.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        if input_features is not None and np.size(input_features) == 1:
            input_features = None if self.n_features_in_ > 1 else input_features
        return super().get_feature_names_out(input_features)  # type: ignore[misc]
