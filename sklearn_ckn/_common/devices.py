"""Arrays of CuPy are computed on the GPU that holds them.

With several GPUs, CuPy computes on its current one and refuses arrays of the others.
Every public method that takes X makes the GPU of X the current one while it runs.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from sklearn_ckn._common.arrays import namespace

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
    """Decorate a method of X: the GPU of X is CuPy's current one while it runs."""

    @wraps(method)
    def wrapped(self, *args, **kwargs):
        with device_of(args[0] if args else kwargs.get("X")):
            return method(self, *args, **kwargs)

    return wrapped  # type: ignore[return-value]
