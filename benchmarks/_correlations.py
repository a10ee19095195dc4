"""The first layer against the ways of old: correlations of channels with filters."""

import tempfile
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path

import numpy as np
from _encode_networks import NETWORKS, prepare
from _timing import alternate
from scipy.signal import correlate2d
from threadpoolctl import ThreadpoolController

from sklearn_ckn._engine.cpu import CPUEngine

MODULE = "four_loops"
SOURCE = '''# cython: boundscheck=False, wraparound=False, language_level=3
"""Correlation of one channel with one filter, by the definition."""


def correlate(
    const float[:, ::1] channel, const float[:, ::1] weights, float[:, ::1] output
):
    """Add the inner products of a padded channel's patches with the weights."""
    cdef Py_ssize_t row, column, i, j
    cdef float total
    for row in range(output.shape[0]):
        for column in range(output.shape[1]):
            total = 0
            for i in range(weights.shape[0]):
                for j in range(weights.shape[1]):
                    total += channel[row + i, column + j] * weights[i, j]
            output[row, column] += total
'''


def build_four_loops(directory):
    """Compile the four loops; return the function, or None without a compiler."""
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.errors import BaseError, CompileError
    except ImportError as error:
        print(f"   four loops left out: {error}")
        return None
    source = Path(directory) / f"{MODULE}.pyx"
    source.write_text(SOURCE)
    modules = cythonize([Extension(MODULE, [str(source)])], quiet=True)
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(directory)
    try:
        command.ensure_finalized()
        with redirect_stdout(StringIO()):
            command.run()
    except (BaseError, CompileError, OSError) as error:
        print(f"   four loops left out, no compiler: {error}")
        return None
    specification = spec_from_file_location(MODULE, command.get_ext_fullpath(MODULE))
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.correlate


def channel_correlations(image, weights, correlate):
    """Return a map of inner products, the channels' correlations added.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    weights : ndarray of shape (k, k, C)
    correlate : callable or None
        The four loops, or None for SciPy's.

    Returns
    -------
    function : callable
    """
    radius = len(weights) // 2
    padded = np.pad(image, [(radius, radius)] * 2 + [(0, 0)])
    channels = np.ascontiguousarray(padded.transpose(2, 0, 1))
    filters = np.ascontiguousarray(weights.transpose(2, 0, 1))

    def by_scipy():
        return sum(
            correlate2d(channel, each, mode="valid")
            for channel, each in zip(channels, filters, strict=True)
        )

    def by_loops():
        output = np.zeros(image.shape[:2], np.float32)
        for channel, each in zip(channels, filters, strict=True):
            correlate(channel, each, output)
        return output

    return by_scipy if correlate is None else by_loops


def time_correlations(image, weights, repeats):
    """Return seconds for one image and filter by SciPy and by the four loops."""
    functions = {"correlate2d": channel_correlations(image, weights, None)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        loops = build_four_loops(directory)
        if loops is not None:
            functions["four loops"] = channel_correlations(image, weights, loops)
            maps = [function() for function in functions.values()]
            np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-5)
        # One call is short: a hundred make it last against the clock.
        repeated = {
            name: lambda function=function: [function() for _ in range(100)]
            for name, function in functions.items()
        }
        seconds = alternate(repeated, repeats)
    return {name: value / 100 for name, value in seconds.items()}


def time_ours(images, layers, thread_counts, repeats):
    """Return seconds for one image and filter of a layer by numbers of threads."""
    engine, controller = CPUEngine(), ThreadpoolController()
    prepared = prepare(engine, layers, images)

    def encode(n_threads):
        with controller.limit(limits=n_threads, user_api="openmp"):
            engine.encode(images, prepared)

    functions = {n: lambda n=n: encode(n) for n in thread_counts}
    alternate(functions, 1)
    n_maps = len(images) * len(layers[0].anchors)
    return {n: value / n_maps for n, value in alternate(functions, repeats).items()}


def history_table(options):
    """Print microseconds per image and filter of layer 1 of network a."""
    print("Microseconds per image and filter: 32x32x3 images, 3x3x3 filters")
    network = NETWORKS["a"]
    layers, images = network.layers()[:1], network.images()
    weights = layers[0].anchors[0].reshape(3, 3, 3)
    seconds = time_correlations(images[0], weights, options.repeats)
    ours = time_ours(images, layers, (1, max(options.threads)), options.repeats)
    for n, value in ours.items():
        seconds[f"ours, {n} thread{'s' * (n > 1)}"] = value
    print("by              | us / image / filter | over ours, 1 thread")
    for name, value in seconds.items():
        print(f"{name:15} | {1e6 * value:19.3f} | {value / ours[1]:19.2f}")
    print("   ours: the whole layer, with norms, kernel, pooling and projection")
