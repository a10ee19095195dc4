"""Conversion of parameters to plain Python numbers and strings."""

import sys
from collections.abc import Mapping, Set
from contextlib import contextmanager


def plain_value(name, value):
    """Return a parameter as a number or string of Python, or as a list of them.

    Raises
    ------
    ValueError
        The parameter is a set or a mapping, which have no order for layers or sizes.
    """
    if isinstance(value, Set | Mapping | bytes):
        raise ValueError(
            f"{name} must be one value, or several in a tuple, a list or an array, got "
            f"{value!r}."
        )
    # Scalars and arrays of NumPy, with any number of axes.
    return value.tolist() if hasattr(value, "tolist") else value


def finite_number(name, value):
    """Return a real parameter as a float.

    Raises
    ------
    ValueError
        It is infinite, or an integer too large for a float.
    """
    value = plain_value(name, value)
    if abs(value) > sys.float_info.max:
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)


@contextmanager
def name_of_parameters(name):
    """Put the name of a group of parameters before the message of an error in it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
