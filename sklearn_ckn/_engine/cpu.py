"""The CPU engine: NumPy arrays in, the Cython extension inside."""

import os
from functools import cache
from itertools import pairwise
from math import prod
from threading import local

import numpy as np

from sklearn_ckn._common.norms import largest_exponent
from sklearn_ckn._common.threads import shared_threads
from sklearn_ckn._engine.contract import Engine
from sklearn_ckn._engine.packed_network import PackedNetwork
from sklearn_ckn._ext import _cpu, _patches, _scaling
from sklearn_ckn._network.layer import LayerGradients

# Work between two looks at signals, in multiply-adds: some tenths of a second, so
# that Ctrl-C is answered soon.
WORK_PER_CHECK = 50_000_000_000

# Scratch of a thread, which decides how many images it takes through all layers
# together: as many as still fit, so that each panel of anchors is read for many rows.
SCRATCH_BYTES = 6 * 2**20
MAX_BLOCK = 12

# Pixels that several threads scale together: with fewer, starting the threads takes
# longer than the work.
MIN_SHARED_VALUES = 2**18


class _Scratch(local):
    """Working memory of the kernels, kept for the next call of the same thread.

    Fresh memory costs a page fault every 4 kB, as much as the work on a small image.
    """

    def __init__(self):
        self.release()

    def release(self):
        """Give the memory back."""
        self._memory = np.empty(0, np.uint8)

    def take(self, n_workers, n_bytes):
        """Return an array of shape (n_workers, n_bytes), uint8."""
        size = n_workers * n_bytes
        memory = self._memory
        if memory.size < size:
            memory = np.empty(size, np.uint8)
            if n_bytes <= SCRATCH_BYTES:
                self._memory = memory
        return memory[:size].reshape(n_workers, n_bytes)


_scratch = _Scratch()


_available_sets = cache(_cpu.instruction_sets)


def choose_instruction_set():
    """Return the name of the instruction set to use.

    The fastest one of this machine, or the one that the environment variable
    ``SKLEARN_CKN_ISA`` names: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Raises
    ------
    ValueError
        The variable names a set that this machine does not have.
    """
    available = _available_sets()
    name = os.environ.get("SKLEARN_CKN_ISA", available[0])
    if name not in available:
        raise ValueError(
            f"SKLEARN_CKN_ISA={name!r} is none of the instruction sets of this "
            f"machine, {available}: unset it or set it to one of them."
        )
    return name


class CPUEngine(Engine):
    """Operations on float32 or float64 NumPy arrays, with OpenMP over images.

    An image's result depends on the image alone, to the bit: not on its
    neighbours, on the number of threads or on how a data set is divided. It depends
    on the instruction set, within rounding.

    An engine keeps the memory of its last tape, and serves one thread of Python at a
    time.

    Parameters
    ----------
    instruction_set : str or None, default=None
        ``"avx512"``, ``"avx2"`` or ``"baseline"``, if this machine has it; None for
        the fastest, or what the environment variable ``SKLEARN_CKN_ISA`` names.
    """

    def __init__(self, instruction_set=None):
        self.instruction_set = instruction_set or choose_instruction_set()
        self.name = f"cpu {self.instruction_set}"
        self._memory = {}

    def bytes_per_image(self, network, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes."""
        sizes = network.map_sizes
        return itemsize * max(
            (before + after for before, after in pairwise(sizes)),
            default=sizes[0],
        )

    def tape_bytes_per_image(self, network, itemsize):
        """Return the memory that an image takes from ``encode_with_tape`` on."""
        shapes = network.shapes
        # a layer's maps before and after the projection, and the gradients in both
        values = prod(shapes[0]) + 4 * sum(map(prod, shapes[1:]))
        return itemsize * values

    def release_memory(self):
        """Give back the memory of the last tape and of the kernels."""
        self._memory.clear()
        _scratch.release()

    def prepare(self, network, dtype):
        """Pack the layers; see ``Engine.prepare``."""
        return PackedNetwork(network, dtype, self.instruction_set)

    def scale(self, images):
        """Multiply images by powers of two, in one pass; see ``Engine.scale``."""
        rows = images.reshape(len(images), -1)
        scaled = np.empty_like(rows)
        inverse = np.empty(len(images), images.dtype)
        limit = largest_exponent(images.dtype)
        with shared_threads() as n_workers:
            if images.size < MIN_SHARED_VALUES:
                n_workers = 1
            _scaling.scale_images(rows, scaled, inverse, limit, n_workers)
        return scaled.reshape(images.shape), inverse.reshape(-1, 1, 1, 1)

    def encode(self, images, prepared):
        """Map images through the layers; see ``Engine.encode``."""
        if not prepared.layers:
            return images
        output = np.empty((len(images), *prepared.shapes[-1]), images.dtype)
        self._run(prepared.whole, images, output, work=prepared.work_per_image)
        return output

    def encode_with_tape(self, images, prepared):
        """Map images and keep what gradients need; see ``Engine.encode_with_tape``.

        The tape holds, of each layer, its input and the pooled responses.
        """
        tape = []
        last = len(prepared.layers) - 1
        for i, map_shape in enumerate(prepared.shapes[1:]):
            shape = (len(images), *map_shape)
            pooled = self._reuse(("pooled", i), shape, images.dtype)
            if i < last:
                output = self._reuse(("maps", i), shape, images.dtype)
            else:
                output = np.empty(shape, images.dtype)
            packed = prepared.single(i, _gradients_of(i))
            self._run(packed, images, output, pooled)
            tape.append((images, pooled))
            images = output
        return images, tape

    def _reuse(self, name, shape, dtype):
        """Return an array for a purpose, in the memory of the last one if it fits.

        Fresh memory costs a page fault every 4 kB, which in a step of training would
        take as long as a layer.
        """
        n_bytes = prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or memory.size < n_bytes:
            memory = self._memory[name] = np.empty(n_bytes, np.uint8)
        return memory[:n_bytes].view(dtype).reshape(shape)

    def _run(self, packed, images, output, pooled=None, *, work=1):
        if len(images) == 0:
            return
        with shared_threads() as n_workers:
            n_block = _block_size(packed.encode_scratch, len(images), n_workers)
            n_workers = min(n_workers, -(-len(images) // n_block))
            packed.encode(
                images,
                output,
                pooled,
                _scratch.take(n_workers, packed.encode_scratch(n_block)),
                n_block,
                max(n_workers, WORK_PER_CHECK // (n_block * work)),
            )

    def encode_backward(self, tape, prepared, gradient, *, to_images=False):
        """Compute gradients; see ``Engine.encode_backward``."""
        layer_gradients = [None] * len(prepared.layers)
        gradient = np.ascontiguousarray(gradient)
        for i in reversed(range(len(prepared.layers))):
            images, pooled = tape[i]
            input_gradient = None
            if i > 0:
                # Two in turn: a layer's output gradient is the next one's input
                # gradient.
                name = ("gradient", i % 2)
                input_gradient = self._reuse(name, images.shape, images.dtype)
            elif to_images:
                input_gradient = np.empty_like(images)
            packed = prepared.single(i, _gradients_of(i, to_images))
            layer_gradients[i] = self._backward_layer(
                images,
                pooled,
                packed,
                gradient,
                prepared.layers[i].anchors.shape,
                input_gradient,
            )
            gradient = input_gradient
        return layer_gradients, gradient

    def _backward_layer(
        self, images, pooled, packed, gradient, anchors_shape, input_gradient
    ):
        dtype = images.dtype
        n_anchors, length = anchors_shape
        n_groups = max(1, min(_cpu.n_groups(), len(images)))
        width = _cpu.panel_width(self.instruction_set, dtype)
        n_panels = -(-n_anchors // width)
        anchor_sums, projection_sums = (
            self._reuse(name, (n_groups, n_panels, depth, width), dtype)
            for name, depth in (("anchors", length), ("projection", n_anchors))
        )
        anchor_sums.fill(0)
        projection_sums.fill(0)
        beta_sums = np.zeros(n_groups)
        with shared_threads() as n_workers:
            n_workers = min(n_workers, n_groups)
            n_block = _block_size(packed.gradient_scratch, len(images), n_groups)
            if len(images) > 0:
                packed.gradients(
                    images,
                    pooled,
                    gradient,
                    anchor_sums,
                    projection_sums,
                    beta_sums,
                    input_gradient,
                    _scratch.take(n_workers, packed.gradient_scratch(n_block)),
                    n_block,
                )
        return LayerGradients(
            _sum_panels(anchor_sums, n_anchors),
            # Rows of the sums belong to gradients, columns to pooled responses.
            _sum_panels(projection_sums, n_anchors).T,
            float(beta_sums.sum()),
        )

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches; see ``Engine.gather_patches``."""
        height, width, _ = images.shape[1:]
        patches = np.empty(
            (len(indices), settings.patch_length(images.shape[1:])), images.dtype
        )
        with shared_threads() as n_workers:
            _patches.gather_patches(
                images,
                indices,
                rows - settings.pad_axis(height)[0],
                columns - settings.pad_axis(width)[0],
                patches,
                settings.patch_shape(images.shape[1:]),
                n_workers,
            )
        return patches

    def nearest_anchors(self, points, anchors):
        """Find each point's nearest anchor; see ``Engine.nearest_anchors``."""
        n_points, length = points.shape
        nearest = np.empty(n_points, dtype=np.intp)
        similarity = np.empty(n_points, dtype=points.dtype)
        chunk = _cpu.points_per_chunk()
        with shared_threads() as n_workers:
            panels = _cpu.pack(
                np.ascontiguousarray(anchors), 1, self.instruction_set, n_workers
            )
            n_workers = min(n_workers, -(-n_points // chunk))
            n_bytes = _cpu.nearest_scratch(self.instruction_set, points.dtype)
            _cpu.nearest_anchors(
                points,
                panels,
                len(anchors),
                nearest,
                similarity,
                _scratch.take(n_workers, n_bytes),
                max(n_workers, WORK_PER_CHECK // (chunk * len(anchors) * length)),
                self.instruction_set,
            )
        return nearest, similarity

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group; see ``Engine.sum_groups``."""
        sums = np.empty((n_groups, points.shape[1]))
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(n_groups + 1))
        with shared_threads() as n_workers:
            _patches.sum_groups(points, order, starts, sums, n_workers)
        return sums


def _gradients_of(position, to_images=False):
    """Return which gradients a layer is packed for.

    Those with respect to the images are seldom wanted, those with respect to maps
    always.
    """
    return "all" if position > 0 or to_images else "parameters"


def _block_size(scratch_bytes, n_images, n_shares):
    """Return how many images a thread takes together.

    Parameters
    ----------
    scratch_bytes : callable
        The scratch that a number of images needs.
    n_images : int
    n_shares : int
        Into which the images are to be divided at least.
    """
    n_block = max(1, min(MAX_BLOCK, n_images // n_shares))
    while n_block > 1 and scratch_bytes(n_block) > SCRATCH_BYTES:
        n_block -= 1
    return n_block


def _sum_panels(panels, n_filters):
    """Return the sum over groups of (n_groups, n_panels, length, width) as rows."""
    total = panels.sum(axis=0)
    rows = total.transpose(0, 2, 1).reshape(-1, total.shape[1])
    return np.ascontiguousarray(rows[:n_filters])
