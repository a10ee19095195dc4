"""Warnings that name the line of the user's code that called the package."""

import sys
import warnings

# Modules whose functions can be between the user's code and a warning.
INTERNAL_PACKAGES = {"sklearn_ckn", "sklearn", "joblib", "functools", "contextlib"}


def warn_user(message, category=UserWarning):
    """Warn with the position of the nearest caller outside the package.

    Callers in scikit-learn (its decorators, pipelines and searches call the
    estimators), in joblib and in helpers of the standard library do not count either.

    Parameters
    ----------
    message : str or Warning
    category : type, default=UserWarning
        Unused if the message is a Warning.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_internal(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(frame):
    """Return whether a frame runs code of an internal package."""
    module = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in INTERNAL_PACKAGES
