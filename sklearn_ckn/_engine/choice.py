"""The choice of an engine: the CPU or a GPU."""

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda import CUDAEngine

INSTALL_HINT = (
    "sklearn-ckn[cuda12] or sklearn-ckn[cuda13], whichever CUDA version the driver "
    'supports, or use device="cpu"'
)


def _import_cupy():
    """Return CuPy, which sees a GPU.

    Raises
    ------
    ImportError
        CuPy is missing, or what it needs of CUDA.
    RuntimeError
        CuPy finds no usable NVIDIA GPU.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            f'device="cuda" needs CuPy ({error}): install {INSTALL_HINT}.'
        ) from error
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f'device="cuda" needs an NVIDIA GPU, and CuPy finds none it can use '
            f"({error}): check the driver, install {INSTALL_HINT}."
        ) from error
    if n_devices == 0:
        raise RuntimeError(
            'device="cuda" needs an NVIDIA GPU, and CuPy sees none: use device="cpu".'
        )
    for library in ("cublas", "cusolver"):
        try:
            getattr(cupy.cuda, library)
        except ImportError as error:
            raise ImportError(
                f"CuPy does not find CUDA's library {library} ({error}): install "
                f"{INSTALL_HINT}; both extras bring CUDA's libraries with CuPy."
            ) from error
    return cupy


def get_engine(device, X=None):
    """Return the engine that computes X.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto"}
        Where anything but an array of CuPy is computed: ``"auto"`` is a GPU where CuPy
        sees one, else the CPU.
    X : array-like or None, default=None
        An array of CuPy is computed on CuPy's current GPU, whatever the device: see
        ``computed_where_x_is``.

    Returns
    -------
    engine : CPUEngine or CUDAEngine

    Raises
    ------
    ImportError
        CuPy is needed and missing.
    RuntimeError
        CuPy is there and finds no usable NVIDIA GPU.
    """
    is_on_gpu = namespace(X) is not np
    if device == "cpu" and not is_on_gpu:
        return CPUEngine()
    try:
        return CUDAEngine(_import_cupy())
    except (ImportError, RuntimeError):
        # The CPU cannot compute with arrays that are on a GPU.
        if device == "cuda" or is_on_gpu:
            raise
        return CPUEngine()


def get_prediction_engine(device, X):
    """Return the engine of a fitted estimator, on the CPU where there is no GPU.

    A model that was fitted on a GPU so predicts on a machine without one, with a
    warning unless its device is ``"auto"``. See ``get_engine``.
    """
    try:
        return get_engine(device, X)
    except (ImportError, RuntimeError) as error:
        if namespace(X) is not np:
            raise
        warn_user(
            f"{error} Until then this model computes on the CPU; set_params(device="
            '"auto") silences this warning.',
        )
        return CPUEngine()
