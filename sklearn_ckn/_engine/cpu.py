"""The CPU engine: NumPy arrays in, the Cython extension inside."""

import os
from itertools import pairwise
from math import prod

import numpy as np

from sklearn_ckn._common.threads import shared_threads
from sklearn_ckn._engine.contract import Engine, LastLayers
from sklearn_ckn._engine.packing import pack_layer
from sklearn_ckn._ext import _cpu, _patches
from sklearn_ckn._network.layer import LayerGradients
from sklearn_ckn._network.network import map_shapes, multiply_adds

# Work between two looks at signals, in multiply-adds: some tenths of a second, so
# that Ctrl-C is answered soon.
WORK_PER_CHECK = 50_000_000_000

# Scratch of a thread, which decides how many images it takes through all layers
# together: as many as still fit, so that each panel of anchors is read for many rows.
SCRATCH_BYTES = 6 * 2**20
MAX_BLOCK = 12


def choose_instruction_set():
    """Return the name of the instruction set to use.

    The fastest one of this machine, or the one that the environment variable
    ``SKLEARN_CKN_ISA`` names: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Raises
    ------
    ValueError
        The variable names a set that this machine does not have.
    """
    available = _cpu.instruction_sets()
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

    An engine keeps what it prepared for its last call, and so serves one thread of
    Python at a time.

    Parameters
    ----------
    instruction_set : str or None, default=None
        ``"avx512"``, ``"avx2"`` or ``"baseline"``, if this machine has it; None for
        the fastest, or what the environment variable ``SKLEARN_CKN_ISA`` names.
    """

    def __init__(self, instruction_set=None):
        self.instruction_set = instruction_set or choose_instruction_set()
        self.name = f"cpu {self.instruction_set}"
        self._packed = LastLayers()
        self._memory = {}

    def bytes_per_image(self, image_shape, layers, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes."""
        sizes = [prod(shape) for shape in map_shapes(image_shape, layers)]
        return itemsize * max(
            (before + after for before, after in pairwise(sizes)),
            default=sizes[0],
        )

    def tape_bytes_per_image(self, image_shape, layers, itemsize):
        """Return what an image takes that goes forward and backward.

        Parameters
        ----------
        image_shape : tuple of int
            (H, W, C).
        layers : list of Layer
        itemsize : int
            Bytes of a value.
        """
        shapes = map_shapes(image_shape, layers)
        # a layer's maps before and after the projection, and the slopes in both
        values = prod(shapes[0]) + 4 * sum(map(prod, shapes[1:]))
        return itemsize * values

    def encode(self, images, layers):
        """Map images through layers.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), float32 or float64
            C-ordered.
        layers : list of Layer
            In the dtype of the images.

        Returns
        -------
        maps : ndarray of shape (n, H', W', p), dtype of the images

        Raises
        ------
        MemoryError
            The scratch of the threads, or the maps, do not fit in memory.
        """
        if not layers:
            return images
        output = self._output(images, layers)
        packed = self._pack(layers, images.shape[1:], images.dtype)
        work = multiply_adds(images.shape[1:], layers)
        self._run(packed, images, output, work=work)
        return output

    def encode_with_tape(self, images, layers):
        """Map images through layers and keep what their gradients need.

        Parameters
        ----------
        images, layers
            See ``encode``.

        Returns
        -------
        maps : ndarray of shape (n, H', W', p), dtype of the images
        tape : list of tuple
            For ``encode_backward``, until the next call of this method: of each layer
            its input, the pooled responses and the layer as packed.
        """
        tape = []
        shapes = map_shapes(images.shape[1:], layers)[1:]
        for i, layer in enumerate(layers):
            # Gradients in the images are seldom wanted, those in deeper maps always.
            packed = self._pack_anew(
                [layer],
                images.shape[1:],
                images.dtype,
                gradients="all" if i > 0 else "parameters",
            )
            shape = (len(images), *shapes[i])
            pooled = self._reuse(("pooled", i), shape, images.dtype)
            if i + 1 < len(layers):
                output = self._reuse(("maps", i), shape, images.dtype)
            else:
                output = np.empty(shape, images.dtype)
            self._run(packed, images, output, pooled)
            tape.append((images, pooled, packed))
            images = output
        return images, tape

    def _pack(self, layers, image_shape, dtype):
        """Return the layers packed, from the last call if they are the same."""
        return self._packed.get(
            (image_shape, dtype),
            layers,
            lambda: self._pack_anew(layers, image_shape, dtype),
        )

    def _pack_anew(self, layers, image_shape, dtype, *, gradients=None):
        shapes = map_shapes(image_shape, layers)
        with shared_threads() as n_workers:
            described = [
                pack_layer(
                    layer, shape, self.instruction_set, n_workers, gradients=gradients
                )
                for layer, shape in zip(layers, shapes, strict=False)
            ]
        return _cpu.PackedLayers(described, dtype, self.instruction_set)

    def _output(self, images, layers):
        shape = map_shapes(images.shape[1:], layers)[-1]
        return np.empty((len(images), *shape), images.dtype)

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

    def _scratch(self, n_workers, n_bytes):
        return self._reuse("scratch", (n_workers, n_bytes), np.uint8)

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
                self._scratch(n_workers, packed.encode_scratch(n_block)),
                n_block,
                max(n_workers, WORK_PER_CHECK // (n_block * work)),
            )

    def encode_backward(self, tape, layers, slopes, *, to_images=False):
        """Compute the gradients of a function of the maps.

        They are sums over the images, in an order that does not depend on the number
        of threads.

        Parameters
        ----------
        tape : list of tuple
            From ``encode_with_tape``.
        layers : list of Layer
            Those that the tape is of.
        slopes : ndarray of shape (n, H', W', p), dtype of the images
            The function's gradient in the maps.
        to_images : bool, default=False
            Whether to compute the gradient in the images.

        Returns
        -------
        gradients : list of LayerGradients
            Of each layer, its anchors and its projection taken as independent.
        image_slopes : ndarray of shape (n, H, W, C) or None
        """
        gradients = [None] * len(layers)
        slopes = np.ascontiguousarray(slopes)
        for i in reversed(range(len(layers))):
            images = tape[i][0]
            image_slopes = None
            if i > 0:
                # two in turn: one layer's output slopes are the next one's input
                name = ("slopes", i % 2)
                image_slopes = self._reuse(name, images.shape, images.dtype)
            elif to_images:
                image_slopes = np.empty_like(images)
            gradients[i] = self._backward_layer(
                *tape[i], slopes, layers[i], image_slopes
            )
            slopes = image_slopes
        return gradients, slopes

    def _backward_layer(self, images, pooled, packed, slopes, layer, image_slopes):
        dtype = images.dtype
        to_images = image_slopes is not None
        if to_images and not packed.has_flipped:
            packed = self._pack_anew([layer], images.shape[1:], dtype, gradients="all")
        n_anchors, length = layer.anchors.shape
        n_groups = max(1, min(_cpu.n_groups(), len(images)))
        width = _cpu.panel_width(self.instruction_set, dtype)
        n_panels = -(-n_anchors // width)
        anchor_slopes, projection_slopes = (
            self._reuse(name, (n_groups, n_panels, depth, width), dtype)
            for name, depth in (("anchors", length), ("projection", n_anchors))
        )
        anchor_slopes.fill(0)
        projection_slopes.fill(0)
        beta_slopes = np.zeros(n_groups)
        with shared_threads() as n_workers:
            n_workers = min(n_workers, n_groups)
            n_block = _block_size(packed.gradient_scratch, len(images), n_groups)
            if len(images) > 0:
                packed.gradients(
                    images,
                    pooled,
                    slopes,
                    anchor_slopes,
                    projection_slopes,
                    beta_slopes,
                    image_slopes,
                    self._scratch(n_workers, packed.gradient_scratch(n_block)),
                    n_block,
                )
        return LayerGradients(
            _sum_panels(anchor_slopes, n_anchors),
            # rows of the sums belong to slopes, columns to pooled responses
            _sum_panels(projection_slopes, n_anchors).T,
            float(beta_slopes.sum()),
        )

    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches, zeros where they reach outside their image.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), float32 or float64
            C-ordered.
        indices, rows, columns : ndarray of shape (m,), intp
            Image and position of each patch; positions count from (0, 0) to the
            layer's ``response_shape``.
        settings : LayerSettings

        Returns
        -------
        patches : ndarray of shape (m, k * k * C), dtype of the images
        """
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
                settings.patch_size,
                n_workers,
            )
        return patches

    def nearest_anchors(self, points, anchors):
        """Find for every point the anchor of largest inner product.

        Parameters
        ----------
        points : ndarray of shape (n, length), float32 or float64
        anchors : ndarray of shape (p, length), dtype of the points

        Returns
        -------
        nearest : ndarray of shape (n,), intp
            The first of equals.
        similarity : ndarray of shape (n,), dtype of the points
        """
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
                self._scratch(n_workers, n_bytes),
                max(n_workers, WORK_PER_CHECK // (chunk * len(anchors) * length)),
                self.instruction_set,
            )
        return nearest, similarity

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group.

        Parameters
        ----------
        points : ndarray of shape (n, length), float32 or float64
        labels : ndarray of shape (n,), intp
            Group of each point, 0 to n_groups - 1.
        n_groups : int

        Returns
        -------
        sums : ndarray of shape (n_groups, length), float64
        """
        sums = np.empty((n_groups, points.shape[1]))
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(n_groups + 1))
        with shared_threads() as n_workers:
            _patches.sum_groups(points, order, starts, sums, n_workers)
        return sums


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
