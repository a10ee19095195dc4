"""The GPU that is measured, for CuPy and PyTorch, or what stands for it in a trial."""

from contextlib import contextmanager

import numpy as np
import torch

from sklearn_ckn._engine import ArrayEngine, get_engine


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
        ``device`` of our estimators.
    torch_device : str
    engine : CUDAEngine or ArrayEngine
    xp : module
    """

    def __init__(self, is_trial):
        self.is_trial = is_trial
        self.device = "cpu" if is_trial else "cuda"
        self.torch_device = self.device
        self.engine = ArrayEngine() if is_trial else get_engine("cuda")
        self.xp = self.engine.xp

    def describe(self):
        """Return a line that says what runs."""
        if self.is_trial:
            return "A TRIAL: nothing ran on a GPU, and the times below say nothing."
        properties = torch.cuda.get_device_properties(0)
        return (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CuPy "
            f"{self.xp.__version__}, PyTorch {torch.__version__}, CUDA runtime "
            f"{self.xp.cuda.runtime.runtimeGetVersion()}, driver "
            f"{self.xp.cuda.runtime.driverGetVersion()}"
        )

    def synchronize(self):
        """Wait until the GPU has done what it was given."""
        if not self.is_trial:
            self.xp.cuda.Device().synchronize()

    def synchronized(self, function):
        """Return a function that returns when the GPU is done with its work."""

        def run():
            result = function()
            self.synchronize()
            return result

        return run

    def clear(self):
        """Give the memory that CuPy and PyTorch keep back, so that neither starves."""
        self.engine.release_memory()
        if not self.is_trial:
            torch.cuda.empty_cache()

    def used_bytes(self):
        """Return the memory of the GPU that is in use, by whatever library."""
        if self.is_trial:
            return 0
        free, total = self.xp.cuda.runtime.memGetInfo()
        return total - free

    def to_numpy(self, array):
        """Return an array of ours, or a tensor, as a NumPy array."""
        if isinstance(array, torch.Tensor):
            return array.cpu().numpy()
        return array if isinstance(array, np.ndarray) else array.get()

    @contextmanager
    def tf32(self, is_allowed):
        """Let PyTorch round the factors of products to TF32, or not."""
        precision = "tf32" if is_allowed else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision
        try:
            yield
        finally:
            torch.backends.cuda.matmul.fp32_precision = "ieee"
            torch.backends.cudnn.conv.fp32_precision = "ieee"
