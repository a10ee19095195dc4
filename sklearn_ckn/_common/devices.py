"""Arrays are computed where they are: on a GPU, or on the machines of a Dask array.

With several GPUs, CuPy computes on its current one and refuses arrays of the others.
Every public method that takes X makes the GPU of X the current one while it runs.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.dask_arrays import is_dask, map_rows

#: Values of the parameter ``device``.
DEVICES = {"cpu", "cuda", "auto"}

Method = TypeVar("Method", bound=Callable[..., Any])


def device_of(array):
    """Return a context within which the GPU of an array is CuPy's current one.

    Parameters
    ----------
    array : object
        For anything but an array of CuPy the context does nothing.
    """
    return nullcontext() if namespace(array) is np else array.device


def computed_where_x_is(method: Method) -> Method:
    """Decorate a method of X that maps rows to rows.

    The GPU of X is CuPy's current one while it runs. Of a Dask array it returns a lazy
    result, whose blocks are computed where those of X are.
    """

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        X = args[0] if args else kwargs.get("X")
        if is_dask(X):
            names = list(signature(method).parameters)[1:]
            options = dict(zip(names, args, strict=False)) | kwargs
            del options["X"]
            return map_rows(self, method, X, options)
        with device_of(X):
            return method(self, *args, **kwargs)

    return wrapped  # type: ignore[return-value]
