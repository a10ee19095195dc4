"""The CPU engine: calls the compiled kernels on NumPy arrays."""

import os
from functools import cache
from itertools import pairwise
from math import prod
from threading import local

import numpy as np

from sklearn_ckn._common.norms import largest_exponent
from sklearn_ckn._common.threads import shared_threads, workers_for
from sklearn_ckn._engine.contract import Engine
from sklearn_ckn._engine.packed_network import PackedNetwork
from sklearn_ckn._ext import _cpu, _patches, _scaling
from sklearn_ckn._network.layer import LayerGradients

# Number of multiply-adds between two checks for signals: some tenths of a second, so
# that Ctrl-C takes effect soon.
WORK_PER_CHECK = 50_000_000_000

# Largest scratch memory of a thread, and largest number of images in the group that it
# takes through all layers together. The group has as many images as fit into the
# scratch memory, so that a panel of anchors, once read, is used for many rows.
SCRATCH_BYTES = 6 * 2**20
MAX_BLOCK = 12

# The same for gradients. A block reads and writes all sums of gradients, which for wide
# layers are larger than any cache.
GRADIENT_SCRATCH_BYTES = 24 * 2**20

# Largest scratch memory of threads that map the same images together. Each of them has
# room for all maps, although only one uses it.
TEAM_SCRATCH_BYTES = 256 * 2**20


class _Scratch(local):
    """Scratch memory of the kernels, kept for the next call of the same thread.

    Newly allocated memory costs a page fault every 4 kB. For a small image these take
    as long as the computation.
    """

    def __init__(self):
        self.release()

    def release(self):
        """Release the memory."""
        self._memory = np.empty(0, np.uint8)

    def take(self, n_workers, n_bytes):
        """Return an array of shape (n_workers, n_bytes), uint8."""
        size = n_workers * n_bytes
        memory = self._memory
        if memory.size < size:
            memory = np.empty(size, np.uint8)
            if n_bytes <= GRADIENT_SCRATCH_BYTES:
                self._memory = memory
        return memory[:size].reshape(n_workers, n_bytes)


_scratch = _Scratch()


_available_sets = cache(_cpu.instruction_sets)


def choose_instruction_set():
    """Return the name of the instruction set to use.

    It is the one named by the environment variable ``SKLEARN_CKN_ISA`` (``"avx512"``,
    ``"avx2"`` or ``"baseline"``) or, without the variable, the fastest one of this
    machine.

    Raises
    ------
    ValueError
        The variable names an instruction set that this machine does not have.
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
    """Engine on the CPU: NumPy arrays, with threads that share the images.

    The result for an image depends on that image only, to the bit. It does not depend
    on the other images of the call, on the number of threads or on the division of a
    data set into blocks. Between instruction sets, results differ by rounding.

    An engine keeps the memory of its last tape, so only one Python thread may use it
    at a time.

    Parameters
    ----------
    instruction_set : str or None, default=None
        ``"avx512"``, ``"avx2"`` or ``"baseline"``; the machine must have it. None
        stands for the result of ``choose_instruction_set``.
    """

    def __init__(self, instruction_set=None):
        self.instruction_set = instruction_set or choose_instruction_set()
        self.name = f"cpu {self.instruction_set}"
        self._memory = {}

    def bytes_per_image(self, network, itemsize):
        """Return the memory per image of ``encode``; see ``Engine.bytes_per_image``."""
        sizes = network.map_sizes
        return itemsize * max(
            (before + after for before, after in pairwise(sizes)),
            default=sizes[0],
        )

    def tape_bytes_per_image(self, network, itemsize):
        """Return the memory per image; see ``Engine.tape_bytes_per_image``."""
        # The images, and for each layer the maps before and after the projection and
        # the gradients with respect to both.
        images, *maps = network.map_sizes
        return itemsize * (images + 4 * sum(maps))

    def release_memory(self):
        """Release the memory of the last tape and the scratch memory of the kernels."""
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
            n_workers = workers_for(images.size, n_workers)
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
        """Map images and return a tape; see ``Engine.encode_with_tape``.

        The tape holds the input and the pooled responses of each layer.
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
            self._run(prepared.single(i), images, output, pooled)
            tape.append((images, pooled))
            images = output
        return images, tape

    def _reuse(self, name, shape, dtype):
        """Return an array that reuses the memory of an earlier one of the same name.

        New memory is allocated if the earlier array was smaller. Newly allocated memory
        costs a page fault every 4 kB; in a training step, these would take as long as
        a layer.
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
            team_bytes = n_workers * packed.encode_scratch(len(images))
            together = 2 * len(images) <= n_workers and team_bytes <= TEAM_SCRATCH_BYTES
            if together:
                n_block = len(images)
            else:
                n_block = _block_size(
                    packed.encode_scratch, len(images), n_workers, SCRATCH_BYTES
                )
                n_workers = min(n_workers, -(-len(images) // n_block))
            packed.encode(
                images,
                output,
                pooled,
                _scratch.take(n_workers, packed.encode_scratch(n_block)),
                n_block,
                max(n_workers * n_block, WORK_PER_CHECK // work),
                together,
            )

    def encode_backward(self, tape, prepared, gradient, *, to_images=False):
        """Compute gradients; see ``Engine.encode_backward``."""
        layer_gradients = [None] * len(prepared.layers)
        gradient = np.ascontiguousarray(gradient)
        for i in reversed(range(len(prepared.layers))):
            images, pooled = tape[i]
            input_gradient = None
            if i > 0:
                # Two arrays in turn: the gradient with respect to the output of this
                # layer is read while that with respect to its input is written.
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
            n_block = _block_size(
                packed.gradient_scratch, len(images), n_groups, GRADIENT_SCRATCH_BYTES
            )
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
            # Rows of the sums belong to the output gradients, columns to the pooled
            # responses; the gradient has them the other way round.
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
                settings.dilation,
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
        # Integers of 16 bits or less are sorted by radix, several times as fast.
        labels = labels.astype(np.min_scalar_type(n_groups))
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(n_groups + 1))
        with shared_threads() as n_workers:
            _patches.sum_groups(points, order, starts, sums, n_workers)
        return sums


def _gradients_of(position, to_images=False):
    """Return the gradients that a layer is packed for; see ``PackedNetwork.single``.

    Each layer but the first must pass on the gradient with respect to its input. The
    first one computes it only if the gradient with respect to the images is requested.
    """
    return "all" if position > 0 or to_images else "parameters"


def _block_size(scratch_bytes, n_images, n_shares, limit):
    """Return the number of images in the groups that a thread takes through the layers.

    Parameters
    ----------
    scratch_bytes : callable
        Returns the bytes of scratch memory that a number of images needs.
    n_images : int
    n_shares : int
        Smallest number of groups, if there are as many images.
    limit : int
        Bytes of scratch memory that a group of several images may take.
    """
    n_block = max(1, min(MAX_BLOCK, n_images // n_shares))
    while n_block > 1 and scratch_bytes(n_block) > limit:
        n_block -= 1
    return n_block


def _sum_panels(panels, n_filters):
    """Add panels over groups, and return the sum with one row for each filter.

    Parameters
    ----------
    panels : ndarray of shape (n_groups, n_panels, length, width)
    n_filters : int

    Returns
    -------
    rows : ndarray of shape (n_filters, length)
    """
    total = panels.sum(axis=0)
    rows = total.transpose(0, 2, 1).reshape(-1, total.shape[1])
    return np.ascontiguousarray(rows[:n_filters])
