"""The GPU that is measured, for CuPy and PyTorch, or what stands for it in a trial."""

import os
import shutil
import subprocess
from contextlib import contextmanager
from math import ceil

import numpy as np
import torch

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._engine.oracle import OracleEngine


class Machine:
    """Where ours and the peer run.

    Parameters
    ----------
    is_trial : bool
        Whether the CPU stands for the GPU: NumPy for CuPy in the array engine, and
        PyTorch on the CPU. Times then say nothing.

    Attributes
    ----------
    device : str
        ``device`` of our estimators, and the device of PyTorch.
    engine : CUDAEngine or OracleEngine
    xp : module
        ``cupy`` or ``numpy``.
    """

    def __init__(self, is_trial):
        self.is_trial = is_trial
        self.device = "cpu" if is_trial else "cuda"
        self.engine = OracleEngine() if is_trial else get_engine("cuda")
        self.xp = self.engine.xp
        # Shapes do not change, so that the peer may choose its algorithms by trying.
        torch.backends.cudnn.benchmark = True
        self._set_tf32(False)

    @property
    def is_tf32(self):
        """Whether CuPy, and so ours, rounds the factors of products to TF32."""
        return not self.is_trial and os.environ.get("CUPY_TF32") == "1"

    def describe(self):
        """Return lines that say what runs."""
        if self.is_trial:
            return (
                "A TRIAL WITHOUT A GPU: NumPy stands for CuPy, and the CPU for the GPU "
                "in every line;\nthe times and memory below say nothing.\n"
                f"NumPy {np.__version__}, PyTorch {torch.__version__}"
            )
        runtime = self.xp.cuda.runtime
        properties = torch.cuda.get_device_properties(0)
        rounding = "TF32 (CUPY_TF32=1)" if self.is_tf32 else "float32"
        return (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, L2 "
            f"{properties.L2_cache_size / 2**20:.0f} MiB, driver {driver_version()}\n"
            f"CuPy {self.xp.__version__}, CUDA {runtime.runtimeGetVersion()}, products "
            f"in {rounding}\nPyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}, choosing algorithms by trying"
        )

    def synchronize(self):
        """Wait until the GPU has done what it was given, by any library."""
        if not self.is_trial:
            self.xp.cuda.Device().synchronize()

    def clear(self):
        """Give back the memory that CuPy and PyTorch keep, so that neither starves."""
        self.synchronize()
        self.engine.release_memory()
        if not self.is_trial:
            self.xp.get_default_memory_pool().free_all_blocks()
            self.xp.get_default_pinned_memory_pool().free_all_blocks()
            torch.cuda.empty_cache()

    def n_copies(self, n_bytes):
        """Return how many copies of an input are to be used in turn.

        Together they are twice as large as the L2 cache, so that none is read from it.
        """
        if self.is_trial:
            return 2
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        return ceil(2 * cache / n_bytes)

    def our_bytes(self, function):
        """Return by how much CuPy's memory grows in a call, layers included."""
        self.clear()
        if self.is_trial:
            function()
            return 0
        pool = self.xp.get_default_memory_pool()
        before = pool.total_bytes()
        function()
        # CuPy keeps what is freed: this is the peak.
        return pool.total_bytes() - before

    def peer_bytes(self, function):
        """Return by how much PyTorch's memory grows in a call, without the network."""
        self.clear()
        if self.is_trial:
            function()
            return 0
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_reserved()
        function()
        return torch.cuda.max_memory_reserved() - before

    @staticmethod
    def to_numpy(array):
        """Return an array of NumPy or CuPy, or a tensor, as an array of NumPy."""
        if isinstance(array, torch.Tensor):
            return array.cpu().numpy()
        return to_numpy(array)

    @staticmethod
    def _set_tf32(is_allowed):
        # These two set the newer ``fp32_precision`` of products and convolutions as
        # well. The other way round they would not, and what still reads them, as the
        # compiler does, would raise an error.
        torch.backends.cuda.matmul.allow_tf32 = is_allowed
        torch.backends.cudnn.allow_tf32 = is_allowed

    @contextmanager
    def tf32(self, is_allowed):
        """Let PyTorch round the factors of products to TF32, or not."""
        self._set_tf32(is_allowed)
        try:
            yield
        finally:
            self._set_tf32(False)

    def with_tf32(self, is_allowed, function):
        """Return the function, to be run with ``tf32`` so."""

        def run(*arguments):
            with self.tf32(is_allowed):
                return function(*arguments)

        return run


def driver_version():
    """Return the version of the NVIDIA driver, if its tool tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return ", ".join(answer.stdout.split()) or "unknown"


def relative_difference(result, expected):
    """Return the l2 norm of the difference over that of what is expected."""
    expected = expected.astype(np.float64)
    return np.linalg.norm(result - expected) / np.linalg.norm(expected)


def with_bound(value, bound):
    """Return a difference as text, which says if it is larger than it may be."""
    if value <= bound:
        return f"{value:.1e}"
    return f"{value:.1e} (LARGER THAN {bound:.0e})"
