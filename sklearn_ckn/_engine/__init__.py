"""Engines: the few operations that touch every pixel, for the CPU and for arrays.

Every engine offers the same methods: ``encode``, ``encode_with_tape`` and
``encode_backward``, ``nearest_anchors``, ``gather_patches``, ``sum_groups`` and
``bytes_per_image``; NumPy arrays go in and come out.
"""

from sklearn_ckn._engine.array import ArrayEngine
from sklearn_ckn._engine.cpu import CPUEngine


def get_engine(device):
    """Return the engine of a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}

    Returns
    -------
    engine : CPUEngine or ArrayEngine

    Raises
    ------
    ImportError
        CuPy is needed and missing.
    RuntimeError
        CuPy is there and finds no usable NVIDIA GPU.
    """
    if device == "cpu":
        return CPUEngine()
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            'device="cuda" needs CuPy: install sklearn-ckn[cuda12] or '
            "sklearn-ckn[cuda13], whichever CUDA version the driver supports, or use "
            'device="cpu".'
        ) from error
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f'device="cuda" needs an NVIDIA GPU, and CuPy finds none it can use '
            f"({error}): check the driver, install the extra that fits its CUDA "
            'version (sklearn-ckn[cuda12] or sklearn-ckn[cuda13]), or use device="cpu".'
        ) from error
    if n_devices == 0:
        raise RuntimeError(
            'device="cuda" needs an NVIDIA GPU, and CuPy sees none: use device="cpu".'
        )
    return ArrayEngine(cupy)
