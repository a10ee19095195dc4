"""Correlations of images with filters by SciPy, PyTorch, CuPy and ours.

The table of this kind in circulation shows 8.6376, 0.1617 and 0.0006 s for SciPy,
PyTorch and CuPy: it stops the clock before the GPU is done, and compares no results.
Here every call is waited for, and every result is compared with SciPy's in float64.
"""

from dataclasses import dataclass
from importlib import import_module
from itertools import cycle

import numpy as np
import torch
from _encode_networks import bind
from _gpu_machine import with_bound
from _timing import alternate
from _torch_ckn import torch_maps
from scipy.signal import correlate2d
from torch.nn import functional

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

FLOAT32 = np.dtype(np.float32)

#: Of float32 results, relative to the largest value.
BOUND = 1e-5


@dataclass(frozen=True)
class Problem:
    """Images and unit filters to be correlated.

    Attributes
    ----------
    shape : tuple of int
        (n, H, W, C) of the images.
    n_filters, side : int
    n_looped : int
        Images that ``correlate2d`` gets, which takes a channel and a filter a call;
        its times are those of this part in proportion.
    """

    shape: tuple
    n_filters: int
    side: int
    n_looped: int

    def arrays(self):
        """Return images (n, H, W, C) and filters (p, k, k, C) in float32."""
        rng = np.random.RandomState(0)
        images = rng.uniform(size=self.shape).astype(FLOAT32)
        length = self.side**2 * self.shape[3]
        filters = unit_rows(rng.randn(self.n_filters, length)).astype(FLOAT32)
        return images, filters.reshape(-1, self.side, self.side, self.shape[3])


PROBLEMS = {
    "one image, one filter": Problem((1, 1024, 1024, 1), 1, 15, 1),
    "256 images, 64 filters": Problem((256, 32, 32, 3), 64, 5, 4),
}
TRIAL_PROBLEMS = {
    "one image, one filter": Problem((1, 24, 24, 1), 1, 5, 1),
    "a few images and filters": Problem((4, 12, 12, 3), 4, 5, 2),
}


def by_loops(correlate, stack, images, filters):
    """Return maps (n, H, W, p) by ``correlate2d``, the channels' results added."""
    return stack(
        [
            stack(
                [
                    sum(
                        correlate(image[..., c], each[..., c], mode="same")
                        for c in range(image.shape[-1])
                    )
                    for each in filters
                ],
                -1,
            )
            for image in images
        ]
    )


def by_torch(maps, weights):
    """Return maps (n, p, H, W) by PyTorch."""
    with torch.inference_mode():
        return functional.conv2d(maps, weights, padding=weights.shape[-1] // 2)


def torch_function(images, filters, device):
    """Return a function of no argument and one that also copies, by PyTorch."""
    weights = torch_maps(filters, channels_last=False, device=device)
    batches = cycle(
        [torch_maps(each, channels_last=False, device=device) for each in images]
    )

    def copying():
        maps = torch_maps(images[0], channels_last=False, device=device)
        return by_torch(maps, weights).cpu()

    return lambda: by_torch(next(batches), weights), copying


def our_layer(filters):
    """Return a layer of the filters, without pooling and with the kernel "poly"."""
    n, side = filters.shape[:2]
    settings = LayerSettings(n, side, 1, "poly", 1.0, "same", 1e-3)
    return Layer(settings, filters.reshape(n, -1), np.eye(n))


def methods(machine, problem):
    """Return functions by their names; the layers of ours do more than correlate.

    What is on the GPU takes copies of the images in turn, so that none is in its cache.
    """
    images, filters = problem.arrays()
    copies = [images] * machine.n_copies(images.nbytes)
    looped = images[: problem.n_looped]
    xp, cpu = machine.xp, CPUEngine()
    layer = our_layer(filters)
    on_gpu = cycle([xp.array(each) for each in copies])
    gpu_filters = xp.asarray(filters)
    library = "scipy.signal" if machine.is_trial else "cupyx.scipy.signal"
    correlate = import_module(library).correlate2d

    def by_cupy(part):
        return by_loops(correlate, xp.stack, part[: problem.n_looped], gpu_filters)

    by_cpu, _ = torch_function([images], filters, "cpu")
    by_gpu, by_gpu_copying = torch_function(copies, filters, machine.device)
    functions = {
        "correlate2d, SciPy": lambda: by_loops(correlate2d, np.stack, looped, filters),
        "conv2d, PyTorch, CPU": by_cpu,
        "our layer, CPU": lambda: bind(cpu, [layer], images).maps(images),
        "correlate2d, CuPy": lambda: by_cupy(next(on_gpu)),
        "correlate2d, CuPy, copies": lambda: machine.to_numpy(
            by_cupy(xp.asarray(looped))
        ),
        "conv2d, PyTorch": machine.with_tf32(False, by_gpu),
        "conv2d, PyTorch, copies": machine.with_tf32(False, by_gpu_copying),
        # What PyTorch does unless it is told otherwise.
        "conv2d, PyTorch, TF32": machine.with_tf32(True, by_gpu),
        "our layer": lambda: bind(machine.engine, [layer], images).maps(next(on_gpu)),
        "our layer, copies": lambda: bind(machine.engine, [layer], images).maps(images),
    }
    return functions


def compare(machine, problem, functions):
    """Return each result's largest difference over the largest value."""
    images, filters = (each.astype(np.float64) for each in problem.arrays())
    images = images[: problem.n_looped]
    exact = by_loops(correlate2d, np.stack, images, filters)
    # The layer's result: u^2 r, with u the product of unit vectors.
    squares = np.sum(images**2, axis=-1, keepdims=True)
    window = np.ones((1, *filters.shape[1:3], 1))
    norms = np.sqrt(by_loops(correlate2d, np.stack, squares, window))
    layers = exact**2 / norms
    differences = {}
    for name, function in functions.items():
        result = machine.to_numpy(function())
        if "conv2d" in name:
            result = result.transpose(0, 2, 3, 1)
        expected = layers if "our" in name else exact
        error = np.abs(result[: problem.n_looped] - expected).max()
        differences[name] = error / np.abs(expected).max()
    return differences


def print_problem(machine, title, problem, repeats):
    """Compare and time all methods; print the table."""
    functions = methods(machine, problem)
    differences = compare(machine, problem, functions)
    alternate(functions, 2, machine.synchronize)
    seconds = alternate(functions, repeats, machine.synchronize)
    n_images = problem.shape[0]
    for name in functions:
        if "correlate2d" in name:
            seconds[name] *= n_images / problem.n_looped
    print(
        f"{title}: {problem.shape}, {problem.n_filters} of {problem.side} x "
        f"{problem.side}\nby                        | ms         | SciPy's over it | "
        "largest relative difference"
    )
    for name, value in seconds.items():
        rounded = "TF32" in name or (machine.is_tf32 and "our" in name)
        difference = with_bound(differences[name], np.inf if rounded else BOUND)
        ratio = seconds["correlate2d, SciPy"] / value
        print(
            f"{name:25} | {1000 * value:10.4f} | {ratio:15.1f} | {difference}",
            flush=True,
        )
    if problem.n_looped < n_images:
        print(
            f"   correlate2d: {problem.n_looped} images, in proportion; it takes one "
            "channel and one filter a call"
        )


def correlate_table(machine, options):
    """Print the times of one image and filter, and of many."""
    print("Correlations, every call waited for; copies: from and to NumPy")
    problems = TRIAL_PROBLEMS if machine.is_trial else PROBLEMS
    for title, problem in problems.items():
        machine.clear()
        print_problem(machine, title, problem, options.repeats)
    print("   our layers also take norms, and apply the kernel function and projection")
