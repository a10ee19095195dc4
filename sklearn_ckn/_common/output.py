"""Output of transformers: what scikit-learn's ``set_output`` does to images."""

import sys
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._set_output import _get_output_config, _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.types import AnyArray


class RowOutputMixin:
    """A transformer of images, whose ``set_output`` is for rows in arrays of NumPy.

    scikit-learn puts whatever ``transform`` returns into a data frame. A frame holds
    neither images, which have more than two axes, nor arrays of CuPy. Both stay arrays,
    which the next step of a pipeline can use. Images from a frame or a series of pandas
    are returned as a column, which keeps the index by which pandas aligns columns.

    Must come before TransformerMixin in the list of base classes.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if "transform" in vars(cls):
            # TransformerMixin has just wrapped the method; this replaces the wrapper.
            cls.transform = _wrap_rows(vars(cls)["transform"].__wrapped__)

    def fit_transform(
        self, X: ArrayLike, y: object = None, **fit_parameters: Any
    ) -> AnyArray:
        """Fit to X and transform it.

        Parameters
        ----------
        X : array-like
            As for ``fit``.
        y : None
            Ignored.
        **fit_parameters
            Other arguments of ``fit``.

        Returns
        -------
        X_transformed : array
            What ``transform`` returns.
        """
        fitted = self.fit(X, y, **fit_parameters)  # type: ignore[attr-defined]
        return fitted.transform(X)


def check_out(out, shape, xp):
    """Validate the argument ``out`` of a ``transform``.

    Parameters
    ----------
    out : object
    shape : tuple of int
        That of the output.
    xp : module
        The namespace that computes; arrays of NumPy may be written to in any case.

    Raises
    ------
    ValueError
        It has another shape, no float dtype, or is on another device.
    """
    found = tuple(getattr(out, "shape", ()))
    kind = getattr(getattr(out, "dtype", None), "kind", "")
    if found != shape or kind != "f" or namespace(out) not in (np, xp):
        raise ValueError(
            f"out must be an array of floats of shape {shape}, in a file or in memory, "
            f"got {type(out).__name__} of shape {found} and dtype "
            f"{getattr(out, 'dtype', None)}. A GPU array needs a GPU that computes."
        )


def _wrap_rows(transform):
    """Return a ``transform`` whose rows are in the container of ``set_output``."""

    @wraps(transform)
    def wrapped(self, X, **options):
        output = transform(self, X, **options)
        is_array = isinstance(output, np.ndarray)
        if not is_array or output is options.get("out"):
            # On a GPU, or of Dask.
            return output
        if output.ndim > 2:
            container = _get_output_config("transform", self)["dense"]
            return _keep_index(output, X) if container == "pandas" else output
        return _wrap_data_with_container("transform", output, X, self)

    return wrapped


def _keep_index(images, X):
    """Return images as a column with the index of X if X is an object of pandas."""
    # Where there is a frame of pandas, pandas has been imported.
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(X, pandas.DataFrame | pandas.Series):
        return images
    name = X.columns[0] if isinstance(X, pandas.DataFrame) else X.name
    return pandas.DataFrame({name: list(images)}, index=X.index)


class PixelNamesMixin:
    """Names of features for transformers whose input may be one column of images.

    Must come before the mixin of scikit-learn that makes the names.
    """

    n_features_in_: int

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> AnyArray:
        """Return names of the columns of the output for rows.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the pixels, checked as elsewhere in scikit-learn. A single name is
            that of a column of images and is ignored.

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        if input_features is not None and np.size(input_features) == 1:
            input_features = None if self.n_features_in_ > 1 else input_features
        return super().get_feature_names_out(input_features)  # type: ignore[misc]
