"""Correlations of images with filters by SciPy, PyTorch, CuPy and ours.

The table of this kind in circulation shows 8.6376, 0.1617 and 0.0006 s for SciPy,
PyTorch and CuPy: it stops the clock before the GPU is done, and compares no results.
"""

from functools import partial
from importlib import import_module

import numpy as np
import torch
from _timing import alternate
from scipy.signal import correlate2d
from torch.nn import functional

from sklearn_ckn._engine import ArrayEngine, CPUEngine
from sklearn_ckn._layer import Layer, LayerSettings
from sklearn_ckn._norms import unit_rows

#: (images, height, width, channels), filters and their side.
PROBLEMS = {
    "one image, one filter": ((1, 512, 512, 1), 1, 5),
    "256 images, 64 filters": ((256, 32, 32, 3), 64, 5),
}
TRIAL_PROBLEMS = {
    "one image, one filter": ((1, 24, 24, 1), 1, 5),
    "a few images and filters": ((3, 12, 12, 3), 4, 5),
}


def by_correlate2d(correlate, stack, images, filters):
    """Return maps (n, H, W, p), the channels' correlations added."""
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


def by_torch(device, images, filters):
    """Return maps (n, p, H, W) by PyTorch."""
    maps = torch.as_tensor(images, device=device).permute(0, 3, 1, 2)
    weights = torch.as_tensor(filters, device=device).permute(0, 3, 1, 2)
    return functional.conv2d(maps, weights, padding=filters.shape[1] // 2)


def our_layer(filters):
    """Return a layer of the filters, without pooling and with the kernel "poly"."""
    n, side, _, _ = filters.shape
    settings = LayerSettings(n, side, 1, "poly", 1.0, "same", 1e-3)
    anchors = unit_rows(filters.reshape(n, -1))
    return Layer(settings, anchors, np.eye(n))


def methods(machine, images, filters):
    """Return functions by their names; the layers of ours do more than correlate."""
    engine, layer = machine.engine, our_layer(filters)
    xp, device = machine.xp, machine.torch_device
    on_gpu = [xp.asarray(images), xp.asarray(filters)]
    tensors = [torch.as_tensor(each, device=device) for each in (images, filters)]
    cpu = CPUEngine()
    correlate = correlate2d
    if not machine.is_trial:
        correlate = import_module("cupyx.scipy.signal").correlate2d
    gpu_correlate = partial(by_correlate2d, correlate, xp.stack)
    functions = {
        "correlate2d, SciPy": partial(
            by_correlate2d, correlate2d, np.stack, images, filters
        ),
        "conv2d, PyTorch, CPU": partial(by_torch, "cpu", images, filters),
        "our layer, CPU": lambda: cpu.encode(images, [layer]),
        "correlate2d, CuPy": lambda: gpu_correlate(*on_gpu),
        "  with the copies": lambda: machine.to_numpy(
            gpu_correlate(xp.asarray(images), xp.asarray(filters))
        ),
        "conv2d, PyTorch, GPU": partial(by_torch, device, *tensors),
        "  with the copies ": lambda: machine.to_numpy(
            by_torch(device, images, filters)
        ),
        "our layer, GPU": lambda: engine.encode(on_gpu[0], [layer]),
        "  with the copies  ": lambda: machine.to_numpy(engine.encode(images, [layer])),
    }
    return {name: machine.synchronized(each) for name, each in functions.items()}


def compare(machine, images, filters, functions):
    """Return each method's relative difference from float64."""
    exact = by_correlate2d(
        correlate2d, np.stack, images.astype("f8"), filters.astype("f8")
    )
    layer = our_layer(filters)
    ours = ArrayEngine().encode(images.astype("f8"), [layer.astype("f8")])
    differences, expected = {}, exact
    for name, function in functions.items():
        result = machine.to_numpy(function())
        if result.shape != exact.shape:
            result = result.transpose(0, 2, 3, 1)
        # "with the copies" belongs to the line before it
        if not name.startswith("  "):
            expected = ours if name.startswith("our") else exact
        error = np.linalg.norm(result.astype("f8") - expected)
        differences[name] = error / np.linalg.norm(expected)
    return differences


def correlate_table(machine, options):
    """Print the times of one image and filter, and of many."""
    for title, (shape, n_filters, side) in (
        TRIAL_PROBLEMS if machine.is_trial else PROBLEMS
    ).items():
        rng = np.random.RandomState(0)
        images = rng.uniform(size=shape).astype(np.float32)
        filters = rng.randn(n_filters, side, side, shape[3]).astype(np.float32)
        with machine.tf32(False):
            functions = methods(machine, images, filters)
            # which also warms up
            differences = compare(machine, images, filters, functions)
            seconds = alternate(functions, options.repeats)
        print(f"\nCorrelation, {title}: {shape}, {n_filters} of {side} x {side}")
        print("by                     | ms        | SciPy over it | from float64")
        for name, value in seconds.items():
            print(
                f"{name:22} | {1000 * value:9.4f} | "
                f"{seconds['correlate2d, SciPy'] / value:13.1f} | "
                f"{differences[name]:.1e}",
                flush=True,
            )
        print(
            "   our layers also take norms, kernel function and projection; "
            "they are compared with the same in float64"
        )
    machine.clear()
