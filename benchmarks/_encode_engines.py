"""The engines that the benchmarks of encoding time, each in a process of its own.

Encoders map the images of a ``network`` through its layers: an object with ``layers()``
and ``images(n)``, the images being the first ones of one sequence. See ``_workers.py``
for what engines have in common.
"""

from functools import cached_property, partial

import numpy as np
from _encode_networks import prepare
from _timing import repeat
from _workers import Way


class Encoder:
    """A way to map the images of a network.

    Parameters
    ----------
    network : object
        See the top of this file.
    n_threads : int
    """

    requires = ()

    def __init__(self, network, n_threads):
        self.network, self.n_threads = network, n_threads

    @cached_property
    def layers(self):
        """The layers of the network."""
        return self.network.layers()

    def load(self):
        """Load what is needed: nothing."""


class Ours(Encoder):
    """The CPU engine, with layers that are prepared."""

    name = "ours"

    def load(self):
        """Load the engine."""
        from sklearn_ckn._engine.cpu import CPUEngine

        self.engine = CPUEngine()

    def describe(self):
        """Return the instruction set."""
        return f"instruction set {self.engine.instruction_set}"

    def ways(self, batch_sizes):
        """Yield one way for each batch size."""
        for batch_size in batch_sizes:
            images = self.network.images(batch_size)
            prepared = prepare(self.engine, self.layers, images)
            encode = partial(self.engine.encode, images, prepared)
            yield Way(f"{batch_size}", batch_size, partial(repeat, encode), encode)


def _torch_description(torch):
    # Its products and convolutions are those of MKL and oneDNN (MKL-DNN).
    libraries = [
        line.strip(" -").split("-Product")[0].split(" (Git")[0]
        for line in torch.__config__.show().splitlines()
        if line.strip(" -").startswith("Intel")
    ]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"PyTorch {torch.__version__}, {capability}; {'; '.join(libraries)}"


class PyTorch(Encoder):
    """The peer in PyTorch, in both memory formats.

    Parameters
    ----------
    network : object
    n_threads : int
    compiled : bool
        Whether by ``torch.compile``.
    separable : bool, default=False
        Whether to pool separably, unlike the published code.
    """

    requires = ("torch",)

    def __init__(self, network, n_threads, *, compiled, separable=False):
        super().__init__(network, n_threads)
        self.compiled, self.separable = compiled, separable
        self.name = "compiled" if compiled else "eager"

    def load(self):
        """Set the number of threads."""
        import torch

        torch.set_num_threads(self.n_threads)
        # Every batch size and memory format is a variant.
        torch._dynamo.config.cache_size_limit = 64

    def describe(self):
        """Return the versions of PyTorch and its libraries."""
        import torch

        return _torch_description(torch)

    def ways(self, batch_sizes):
        """Yield one way for each batch size and memory format."""
        from _torch_ckn import torch_encoder

        for batch_size in batch_sizes:
            images = self.network.images(batch_size)
            for channels_last in (False, True):
                encode = torch_encoder(
                    self.layers,
                    images,
                    channels_last=channels_last,
                    compiled=self.compiled,
                    separable=self.separable,
                )
                memory_format = "last" if channels_last else "first"
                yield Way(
                    f"{batch_size} {memory_format}",
                    batch_size,
                    partial(repeat, encode),
                    lambda encode=encode: encode().permute(0, 2, 3, 1).numpy(),
                )


class NumPyProducts:
    """Float32 matrix products by NumPy, into memory at hand."""

    name = "NumPy sgemm"
    requires = ()

    def __init__(self, n_threads):
        self.n_threads = n_threads

    def load(self):
        """Load nothing."""

    def describe(self):
        """Return the version of NumPy and the kernel of its OpenBLAS."""
        return describe_numpy()

    def ways(self, shapes):
        """Yield one way for each (rows, length, columns); units are operations."""
        for rows, length, columns in shapes:
            left, right, out = _matrices(rows, length, columns)
            multiply = partial(np.matmul, left, right, out=out)
            yield _product_way((rows, length, columns), multiply)


class PyTorchProducts(NumPyProducts):
    """Float32 matrix products by PyTorch, into memory at hand."""

    name = "PyTorch sgemm"
    requires = ("torch",)

    def load(self):
        """Set the number of threads."""
        import torch

        torch.set_num_threads(self.n_threads)

    def describe(self):
        """Return the versions of PyTorch and its libraries."""
        import torch

        return _torch_description(torch)

    def ways(self, shapes):
        """Yield one way for each (rows, length, columns); units are operations."""
        import torch

        for shape in shapes:
            left, right, out = map(torch.from_numpy, _matrices(*shape))
            yield _product_way(shape, partial(torch.mm, left, right, out=out))


def _matrices(rows, length, columns):
    rng = np.random.RandomState(0)
    left = rng.uniform(size=(rows, length)).astype(np.float32)
    right = rng.uniform(size=(length, columns)).astype(np.float32)
    return left, right, np.empty((rows, columns), np.float32)


def _product_way(shape, multiply):
    operations = 2 * int(np.prod(shape))
    return Way("x".join(map(str, shape)), operations, partial(repeat, multiply))


def describe_numpy():
    """Return the version of NumPy and the kernel of its OpenBLAS."""
    from threadpoolctl import threadpool_info

    kernels = [
        library["architecture"]
        for library in threadpool_info()
        if "numpy" in library["filepath"] and "architecture" in library
    ]
    return f"NumPy {np.__version__}, OpenBLAS kernel {', '.join(kernels) or 'unknown'}"
