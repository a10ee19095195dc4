"""Choice of the engine, CPU or GPU, from the parameter ``device`` and the data."""

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.dask_arrays import is_dask
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda import CUDAEngine

INSTALL_HINT = (
    "sklearn-ckn[cuda12] or sklearn-ckn[cuda13], whichever CUDA version the driver "
    'supports, or use device="cpu"'
)


def _import_cupy():
    """Import CuPy and check that it can use a GPU.

    Returns
    -------
    cupy : module

    Raises
    ------
    ImportError
        CuPy or a CUDA library that it needs is missing.
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
    """Return the engine for a device and data.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto"}
        Device on which data other than CuPy arrays are computed. ``"auto"`` is a GPU
        if CuPy finds one, otherwise the CPU.
    X : array-like or None, default=None
        A CuPy array is computed on CuPy's current GPU, whatever the device: see
        ``computed_where_x_is``.

    Returns
    -------
    engine : CPUEngine or CUDAEngine

    Raises
    ------
    ValueError
        X is a Dask array, and the device ``"cuda"``.
    ImportError
        CuPy or a CUDA library is needed and missing.
    RuntimeError
        CuPy is installed but finds no usable NVIDIA GPU.
    """
    is_on_gpu = namespace(X) is not np
    if is_dask(X) and device == "cuda":
        raise ValueError(
            "A fit to a Dask array is computed by the CPUs of its workers: use "
            'device="cpu", or pass X.compute().'
        )
    if is_dask(X) or (device == "cpu" and not is_on_gpu):
        return CPUEngine()
    try:
        return CUDAEngine(_import_cupy())
    except (ImportError, RuntimeError):
        # The CPU engine cannot read arrays that are on a GPU.
        if device == "cuda" or is_on_gpu:
            raise
        return CPUEngine()


def get_prediction_engine(device, X):
    """Return the engine of a fitted estimator; the CPU engine if there is no GPU.

    With this, a model that was fitted on a GPU can predict on a machine without one.
    It warns if the device is ``"cuda"``. See ``get_engine``.
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
