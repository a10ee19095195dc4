"""The contract of an engine: its operations, its memory limits, its transfers.

An engine computes what touches every pixel. There are three: the CPU engine, the GPU
engine, and the slow array engine that tests compare them with.
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

# Memory of a block on the CPU: larger ones are no faster, if every thread has some
# images.
BLOCK_BYTES = 2**27
IMAGES_PER_THREAD = 16


class Engine(ABC):
    """Base class of the engines; the limits are those of an engine on the CPU.

    Arrays that go in are C-ordered and float32 or float64, all of one dtype; NumPy
    arrays are accepted by every engine, CuPy arrays by the GPU engine. Arrays that
    come out belong to ``xp``. How much is computed at once follows from the
    attributes, see ``Budget``.

    Attributes
    ----------
    xp : module
        Namespace of the arrays that the operations return, ``numpy`` or ``cupy``.
    name : str
        Identifies the implementation and the processor: part of the keys of cached
        results, since implementations differ in rounding.
    work_per_block : int
        Multiply-adds of a block of images: some tenths of a second, since callbacks are
        told of the progress between blocks.
    transfer_bytes : int
        Size limit of a block of images, or of its maps, that is copied between host
        and device.
    tape_bytes : int
        Bytes that the forward pass of a batch may keep; a larger batch is computed in
        parts. A constant, since the parts decide the order of sums.
    """

    xp = np
    name: str
    work_per_block = 40_000_000_000
    transfer_bytes = sys.maxsize
    tape_bytes = 2**27

    def bind(self, network, dtype):
        """Return the Encoder of a network on this engine.

        What the engine prepares for it is kept as long as the network exists, and
        used by all encoders of the same network, engine and dtype.

        Parameters
        ----------
        network : Network
        dtype : dtype
            float32 or float64, in which images are mapped.

        Returns
        -------
        encoder : Encoder
        """
        dtype = np.dtype(dtype)
        return Encoder(self, network, dtype, prepared_network(self, network, dtype))

    @property
    def prepared_key(self):
        """Identifies, in this process, the engines that share prepared networks."""
        return self.name

    @abstractmethod
    def prepare(self, network, dtype):
        """Lay the layers of a network out for the operations of this engine.

        Parameters
        ----------
        network : Network
        dtype : dtype

        Returns
        -------
        prepared : object
            For ``encode``, ``encode_with_tape`` and ``encode_backward``; it is never
            changed, so that several threads may use it, and has no reference to the
            network.
        """

    def scale(self, images):
        """Multiply images by the powers of two that bring them to about 1.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
            Of the namespace of this engine.

        Returns
        -------
        scaled : array of shape (n, H, W, C), dtype of the images
        inverse : array of shape (n, 1, 1, 1), dtype of the images
            What the maps of the scaled images are to be multiplied by.
        """
        scale, inverse = image_scales(images)
        return images * scale, inverse

    @abstractmethod
    def encode(self, images, prepared):
        """Map images through the layers.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
            Of the shape and dtype that the layers were prepared for.
        prepared : object

        Returns
        -------
        maps : array of shape (n, H', W', p), dtype of the images

        Raises
        ------
        MemoryError
            Working memory or maps do not fit into memory.
        """

    @abstractmethod
    def encode_with_tape(self, images, prepared):
        """Map images through the layers and keep what the gradients need.

        Parameters
        ----------
        images, prepared
            See ``encode``.

        Returns
        -------
        maps : array of shape (n, H', W', p), dtype of the images
        tape : object
            For ``encode_backward``; valid until the next call of this method.
        """

    @abstractmethod
    def encode_backward(self, tape, prepared, gradient, *, to_images=False):
        """Compute the gradients of a function of the maps.

        They are sums over the images, in an order that does not depend on the number
        of threads.

        Parameters
        ----------
        tape : object
            From ``encode_with_tape``.
        prepared : object
            What the tape was made with.
        gradient : array of shape (n, H', W', p), dtype of the images
            Of the function with respect to the maps.
        to_images : bool, default=False
            Whether to compute the gradient with respect to the images.

        Returns
        -------
        layer_gradients : list of LayerGradients
            Of each layer, its anchors and its projection taken as independent.
        image_gradient : array of shape (n, H, W, C) or None
        """

    @abstractmethod
    def gather_patches(self, images, indices, rows, columns, settings):
        """Copy single patches, zeros where they reach outside their image.

        Parameters
        ----------
        images : array of shape (n, H, W, C)
        indices, rows, columns : ndarray of shape (m,), intp
            Image and position of each patch; positions count from (0, 0) to the
            layer's ``response_shape``.
        settings : LayerSettings

        Returns
        -------
        patches : array of shape (m, patch length), dtype of the images
        """

    @abstractmethod
    def nearest_anchors(self, points, anchors):
        """Find for every point the anchor of largest inner product.

        Parameters
        ----------
        points : array of shape (n, length)
        anchors : array of shape (p, length)

        Returns
        -------
        nearest : array of shape (n,), intp
            The first of several equally near ones.
        similarity : array of shape (n,), dtype of the points
            The inner products.
        """

    @abstractmethod
    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group.

        Parameters
        ----------
        points : array of shape (n, length)
        labels : array of shape (n,), intp
            Group of each point, 0 to n_groups - 1.
        n_groups : int

        Returns
        -------
        sums : array of shape (n_groups, length), float64
        """

    @abstractmethod
    def bytes_per_image(self, network, itemsize):
        """Return the memory that one more image in a call to ``encode`` takes.

        Parameters
        ----------
        network : Network
        itemsize : int
            Bytes of a value.
        """

    @abstractmethod
    def tape_bytes_per_image(self, network, itemsize):
        """Return the memory that an image takes from ``encode_with_tape`` on.

        Parameters
        ----------
        network : Network
        itemsize : int
            Bytes of a value.
        """

    @property
    def block_bytes(self):
        """Bytes that a block of images or points may take while it is computed.

        On the CPU they are scikit-learn's ``working_memory``.
        """
        return working_memory_bytes()

    def enough_images(self, image_bytes):
        """Return how many images of a block are enough for full speed."""
        return max(BLOCK_BYTES // image_bytes, IMAGES_PER_THREAD * n_threads())

    @cached_property
    def tape_budget(self):
        """``tape_bytes`` as a Budget, which lasts as long as the engine."""
        return Budget(self.tape_bytes)

    def upload(self, blocks):
        """Yield NumPy arrays, or arrays of the namespace, as the latter.

        An array is valid until the next one is asked for.
        """
        return iter(blocks)

    def download(self, blocks):
        """Yield arrays of the namespace as NumPy arrays, valid until the next one."""
        return iter(blocks)

    def has_room_for(self, n_bytes):
        """Return whether an array of ``n_bytes`` may stay where the engine computes."""
        return True

    @abstractmethod
    def release_memory(self):
        """Give back the memory that is kept for later; called after a MemoryError."""
