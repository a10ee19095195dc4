"""The dtype in which images are computed."""

import numpy as np


def compute_dtype(dtype):
    """Return the dtype in which images of ``dtype`` are computed.

    float32 for float32 and uint8, float64 for everything else.
    """
    single = np.dtype(dtype).newbyteorder("=") in (np.float32, np.uint8)
    return np.dtype(np.float32 if single else np.float64)
