"""Base class of the engines: their operations, memory limits and data transfers.

An engine carries out the operations whose cost grows with the number of pixels. There
are three engines: one for the CPU, one for a GPU, and the oracle, a slow engine in
plain array code with which the tests compare the other two.
"""

import sys
from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from sklearn_ckn._common.memory_limits import Budget, working_memory_bytes
from sklearn_ckn._common.norms import image_scales
from sklearn_ckn._common.threads import n_threads
from sklearn_ckn._engine.encoder import Encoder
from sklearn_ckn._engine.prepared import prepared_network
from sklearn_ckn._engine.union_encoder import UnionEncoder
from sklearn_ckn._network.union import NetworkUnion

# Memory of a block on the CPU. Larger blocks are no faster, as long as every thread
# has at least IMAGES_PER_THREAD images, or as many as take THREAD_BYTES: the longer an
# image takes, the fewer are needed.
BLOCK_BYTES = 2**27
IMAGES_PER_THREAD = 16
THREAD_BYTES = 2**23


class Engine(ABC):
    """Base class of the engines; its default limits are for the CPU.

    Input arrays are C-ordered, and all of them are float32 or all are float64. Every
    engine accepts NumPy arrays, the GPU engine accepts CuPy arrays as well. Output
    arrays belong to the namespace ``xp``. The attributes determine how many images
    are computed at once, see ``Budget``.

    Attributes
    ----------
    xp : module
        Namespace of the arrays that the operations return, ``numpy`` or ``cupy``.
    name : str
        Identifies the implementation and the processor. It is part of the keys of
        cached results, because implementations differ in rounding.
    work_per_block : int
        Largest number of multiply-adds of a block of images. It corresponds to some
        tenths of a second, because callbacks are informed of the progress between
        blocks.
    transfer_bytes : int
        Largest size of a block of images, or of its maps, that is copied between host
        and device.
    tape_bytes : int
        Number of bytes that the forward pass of a batch may keep for the backward
        pass; a larger batch is computed in parts. It is a constant, because the order
        in which gradients are added, and so their rounding, depends on the parts.
    """

    xp = np
    name: str
    work_per_block = 40_000_000_000
    transfer_bytes = sys.maxsize
    tape_bytes = 2**27

    def bind(self, network, dtype):
        """Return the Encoder of a network on this engine.

        The result of ``prepare`` is kept as long as the network exists. All encoders
        of the same network, engine and dtype share it.

        Parameters
        ----------
        network : Network or NetworkUnion
        dtype : dtype
            float32 or float64; the network is computed in this dtype.

        Returns
        -------
        encoder : Encoder
        """
        dtype = np.dtype(dtype)
        if isinstance(network, NetworkUnion):
            members = [self.bind(each, dtype) for each in network.networks]
            return UnionEncoder(self, network, dtype, members)
        return Encoder(self, network, dtype, prepared_network(self, network, dtype))

    @property
    def prepared_key(self):
        """Key, valid in this process, of the engines that share prepared networks."""
        return self.name

    @abstractmethod
    def prepare(self, network, dtype):
        """Convert the layers of a network to the form that this engine computes with.

        Parameters
        ----------
        network : Network
        dtype : dtype

        Returns
        -------
        prepared : object
            Argument of ``encode``, ``encode_with_tape`` and ``encode_backward``. It is
            not modified after it has been made, so several threads may use it, and it
            holds no reference to the network.
        """

    def scale(self, images):
        """Multiply each image by the power of two that brings its largest value near 1.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
            Array of the engine's namespace.

        Returns
        -------
        scaled : array of shape (n, H, W, C), dtype of the images
        inverse : array of shape (n, 1, 1, 1), dtype of the images
            Factors by which the maps of the scaled images must be multiplied.
        """
        scale, inverse = image_scales(images)
        return images * scale, inverse

    @abstractmethod
    def encode(self, images, prepared):
        """Map images through all layers.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
            Their shape and dtype must be those that the layers were prepared for.
        prepared : object
            Result of ``prepare``.

        Returns
        -------
        maps : array of shape (n, H', W', p), dtype of the images

        Raises
        ------
        MemoryError
            There is not enough memory for the maps or for intermediate results.
        """

    @abstractmethod
    def encode_with_tape(self, images, prepared):
        """Map images through all layers and record what the backward pass needs.

        Parameters
        ----------
        images, prepared
            See ``encode``.

        Returns
        -------
        maps : array of shape (n, H', W', p), dtype of the images
        tape : object
            Argument of ``encode_backward``; valid until the next call of this method.
        """

    @abstractmethod
    def encode_backward(self, tape, prepared, gradient, *, to_images=False):
        """Compute the gradients of a scalar function of the maps.

        The gradients with respect to the layers are summed over the images, in an
        order that does not depend on the number of threads.

        Parameters
        ----------
        tape : object
            Result of ``encode_with_tape``.
        prepared : object
            The argument with which the tape was made.
        gradient : array of shape (n, H', W', p), dtype of the images
            Gradient of the function with respect to the maps.
        to_images : bool, default=False
            Whether to compute the gradient with respect to the images as well.

        Returns
        -------
        layer_gradients : list of LayerGradients
            One item for each layer; its anchors and its projection are treated as
            independent variables.
        image_gradient : array of shape (n, H, W, C) or None
        """

    @abstractmethod
    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches; they are zero where they lie outside their image.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
        indices, rows, columns : ndarray of shape (m,), intp
            Image and position of each patch. Positions start at (0, 0) and are below
            the ``response_shape`` of the settings.
        settings : LayerSettings
            Settings of the layer whose patches are copied.

        Returns
        -------
        patches : array of shape (m, patch length), dtype of the images
        """

    @abstractmethod
    def nearest_anchors(self, points, anchors):
        """Find the anchor with the largest inner product with each point.

        Parameters
        ----------
        points : array of shape (n, length)
        anchors : array of shape (p, length)

        Returns
        -------
        nearest : array of shape (n,), intp
            Index of the anchor; the smallest index where several are equally near.
        similarity : array of shape (n,), dtype of the points
            Inner product of each point with its anchor.
        """

    @abstractmethod
    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group.

        Parameters
        ----------
        points : array of shape (n, length)
        labels : array of shape (n,), intp
            Group of each point, from 0 to n_groups - 1.
        n_groups : int

        Returns
        -------
        sums : array of shape (n_groups, length), float64
        """

    @abstractmethod
    def bytes_per_image(self, network, itemsize):
        """Return the memory in bytes that ``encode`` needs for each image.

        Parameters
        ----------
        network : Network
        itemsize : int
            Number of bytes of a value.
        """

    @abstractmethod
    def tape_bytes_per_image(self, network, itemsize):
        """Return the memory in bytes of one image during forward and backward pass.

        Parameters
        ----------
        network : Network
        itemsize : int
            Number of bytes of a value.
        """

    @property
    def block_bytes(self):
        """Number of bytes that the computation of a block may take.

        A block consists of images or points. On the CPU the limit is scikit-learn's
        ``working_memory``.
        """
        return working_memory_bytes()

    def enough_images(self, image_bytes):
        """Return the number of images of a block beyond which speed no longer grows."""
        per_thread = min(IMAGES_PER_THREAD, Budget(THREAD_BYTES).n_rows(image_bytes))
        return max(BLOCK_BYTES // image_bytes, per_thread * n_threads())

    @cached_property
    def tape_budget(self):
        """Budget of ``tape_bytes``, which exists as long as the engine."""
        return Budget(self.tape_bytes)

    def upload(self, blocks):
        """Yield the blocks as arrays of the engine's namespace.

        Parameters
        ----------
        blocks : iterable of array
            NumPy arrays, or arrays of the engine's namespace.

        Yields
        ------
        block : array
            Valid until the next block is requested.
        """
        return iter(blocks)

    def download(self, blocks):
        """Yield the blocks, arrays of the engine's namespace, as NumPy arrays.

        Each array is valid until the next block is requested.
        """
        return iter(blocks)

    def has_room_for(self, n_bytes):
        """Return whether the engine's device has room to keep an array of this size."""
        return True

    @abstractmethod
    def release_memory(self):
        """Release the memory that is kept for later calls.

        It is called when memory has run out, before the operation is tried again.
        """
