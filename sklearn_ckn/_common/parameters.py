"""Values of parameters as plain Python numbers and strings."""

import sys
from collections.abc import Mapping, Set


def plain_value(name, value):
    """Return a parameter as Python's own numbers and strings, or a list of them.

    Raises
    ------
    ValueError
        Sets and mappings have no order that layers or sizes could follow.
    """
    if isinstance(value, Set | Mapping | bytes):
        raise ValueError(
            f"{name} must be one value, or several in a tuple, a list or an array, got "
            f"{value!r}."
        )
    # Arrays without axes, scalars of NumPy, and arrays of any length.
    return value.tolist() if hasattr(value, "tolist") else value


def finite_number(name, value):
    """Return a real parameter as a float.

    Raises
    ------
    ValueError
        It is infinite, or an integer beyond the floats.
    """
    value = plain_value(name, value)
    if abs(value) > sys.float_info.max:
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return float(value)
