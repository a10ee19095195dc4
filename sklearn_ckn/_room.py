"""Heads whose features, or whose matrices, do not fit into the memory of a GPU."""

import warnings

import numpy as np

from sklearn_ckn._arrays import namespace, to_numpy


def fit_in_memory(fit, features, engine):
    """Fit a head where the engine computes, or else with less of it there.

    When memory runs out, the features go to the CPU and visit the GPU block by block;
    if the head's matrices alone are too large, the CPU fits it, with a warning.

    Parameters
    ----------
    fit : callable
        Of an array of features and the namespace to compute with.
    features : list of one array
        A list, so that nothing else holds the array when it leaves the GPU; it is
        replaced by the one that the head was fitted on.
    engine : CPUEngine or ArrayEngine

    Returns
    -------
    head : object
        What ``fit`` returned.

    Raises
    ------
    MemoryError
        The memory of the CPU is too small as well.
    """
    xp = engine.xp
    while True:
        try:
            return fit(features[0], xp)
        except MemoryError as error:
            if xp is np:
                raise
            reason = str(error)
        # Only here are the arrays gone that the error's traceback holds.
        if namespace(features[0]) is not np:
            features[0] = to_numpy(features[0])
        else:
            xp = np
            warnings.warn(
                f"The head is fitted by the CPU, since its matrices do not fit into "
                f"the memory of the GPU ({reason}).",
                UserWarning,
                stacklevel=4,
            )
        engine.release_memory()
