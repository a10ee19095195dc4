"""Encoder: maps any number of images through a network, in blocks of bounded memory."""

from dataclasses import dataclass

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.lazy_array import LazyArray
from sklearn_ckn._common.memory_limits import Budget
from sklearn_ckn._common.norms import row_norms, unit_rows
from sklearn_ckn._common.progress import Task
from sklearn_ckn._network.differences import first_differences, transposed_differences
from sklearn_ckn._network.unfold import SMALLEST_NORM, without_means


@dataclass(frozen=True)
class ForwardPass:
    """Features of a batch of images, and the record for the backward pass.

    Attributes
    ----------
    features : array of shape (n, n_features)
    map_shape : tuple of int
        Shape of the maps from which the features are computed, including the maps of
        the mirror images.
    tape : object
        Tape of the engine, see ``Engine.encode_with_tape``.
    inverse : array of shape (n_maps, 1, 1, 1)
        Factors that undo the scaling of the images; see ``Engine.scale``.
    unscaling : array of shape (n_maps, 1, 1, 1)
        Factors of the features, which undo that scaling and apply the network's scale.
    norms : array of shape (n, 1), float64, or None
        Result of ``normalized``; None if features are not normalized.
    """

    features: np.ndarray
    map_shape: tuple
    tape: object
    inverse: np.ndarray
    unscaling: np.ndarray
    norms: np.ndarray | None


def normalized(features, power):
    """Divide the features of scaled images by a power of their norms.

    Parameters
    ----------
    features : array of shape (n, d), float32 or float64
    power : float
        Above 0, at most 1.

    Returns
    -------
    normalized : array of shape (n, d), dtype of ``features``
        Zero where the norm is at most SMALLEST_NORM, below which rounding is all that
        is left: for blank images, and images that are far from all anchors.
    norms : array of shape (n, 1), float64
        Infinite where the result is zero.
    """
    norms = row_norms(features)[:, np.newaxis]
    norms = namespace(norms).where(norms > SMALLEST_NORM, norms, np.inf)
    return features * (norms**-power).astype(features.dtype), norms


class Encoder:
    """Maps images through a network; created by ``Engine.bind``.

    Each image is first multiplied by the power of two that brings its largest absolute
    value between 1/2 and 1, and its maps are divided by the same power. The layers of a
    network are positively homogeneous, so the result is the same, but no intermediate
    result overflows or underflows, whatever the scale of the images. Maps of degree 0
    are not divided.

    Parameters
    ----------
    engine : Engine
    network : Network
    dtype : dtype
        float32 or float64; the network is computed in this dtype.
    prepared : object
        Result of ``engine.prepare``.
    """

    def __init__(self, engine, network, dtype, prepared):
        self.engine = engine
        self.network = network
        self.dtype = dtype
        self._prepared = prepared

    def blocks(self, images, xp=None, *, chosen=None):
        """Map images, block by block.

        Parameters
        ----------
        images : array of shape (n, H, W, C), any real dtype
            NumPy array, or array of the engine's namespace.
        xp : module or None, default=None
            Namespace of the maps; None stands for the engine's namespace.
        chosen : ndarray of shape (m,), intp, or None, default=None
            Indices of the images to be mapped; None maps all images.

        Yields
        ------
        rows : slice
            Position of the block in the images, or in ``chosen`` if it is given.
        maps : array of shape (block size, H', W', p)
            Valid until the next block is requested.

        Raises
        ------
        MemoryError
            There is not enough memory for a single image.
        """
        engine = self.engine
        if chosen is not None and isinstance(images, LazyArray):
            # It can then read more of them at a time.
            images, chosen = images.take(chosen), None
        if chosen is not None:
            chosen = namespace(images).asarray(chosen)

        def compute(slices):
            blocks = (
                images[rows if chosen is None else chosen[rows]] for rows in slices
            )
            maps = map(self._encode, engine.upload(blocks))
            return engine.download(maps) if xp is np else maps

        image_bytes = self._bytes_per_image
        return Budget(engine.block_bytes).in_parts(
            len(images if chosen is None else chosen),
            image_bytes,
            compute,
            engine,
            at_most=self._largest_block(images.dtype.itemsize, image_bytes),
        )

    @property
    def _bytes_per_image(self):
        """Memory in bytes that is needed for each image of a block."""
        network, itemsize = self.network, self.dtype.itemsize
        # In addition to the engine's memory: the image in ``dtype``, before scaling,
        # and before whitening and differences.
        n_converted = 1 + (network.whitening is not None) + network.differences
        converted = n_converted * itemsize * network.map_sizes[0]
        if network.center_images:
            # The scaled image, in float64 without its means, and in ``dtype``.
            converted += (8 + 2 * itemsize) * network.map_sizes[0]
        return network.n_copies * (
            self.engine.bytes_per_image(network, itemsize) + converted
        )

    def _largest_block(self, source_itemsize, image_bytes):
        """Return the limit on the images of a block that does not come from memory."""
        engine, network = self.engine, self.network
        transferred = max(
            source_itemsize * network.map_sizes[0],
            self.dtype.itemsize * network.n_features,
        )
        at_most = min(
            engine.work_per_block // max(1, network.multiply_adds),
            engine.transfer_bytes // transferred,
            engine.enough_images(image_bytes),
        )
        return max(1, at_most)

    def _encode(self, images):
        """Map one block of images, an array of the engine's namespace."""
        images = self._preprocessed(images)
        images = self.engine.xp.ascontiguousarray(images, dtype=self.dtype)
        if not (self.network.layers or self.network.center_images):
            return images
        scaled, inverse = self.engine.scale(images)
        if self.network.center_images:
            scaled, again = self.engine.scale(self._centred(scaled))
            inverse = inverse * again
        if not self.network.layers:
            return scaled * inverse
        maps = self.engine.encode(scaled, self._prepared)
        if self.network.flip_average:
            mirrored = self.engine.xp.ascontiguousarray(scaled[:, :, ::-1])
            maps *= 0.5
            maps += 0.5 * self.engine.encode(mirrored, self._prepared)
        power = self.network.normalize
        if power > 0:
            features, _ = normalized(maps.reshape(len(maps), -1), power)
            maps = features.reshape(maps.shape)
        maps *= self._unscaling(inverse)
        return maps

    def _preprocessed(self, images):
        """Return the images that the first layer maps."""
        if self.network.differences:
            images = first_differences(images.astype(self.dtype, copy=False))
        whitening = self.network.whitening
        if whitening is None:
            return images
        return whitening.apply(images, self.dtype, self.engine)

    def _centred(self, scaled):
        """Return images without the mean of each channel, computed in float64."""
        centred = without_means(scaled.reshape(len(scaled), -1), scaled.shape[3])
        return centred.reshape(scaled.shape).astype(self.dtype, copy=False)

    def _unscaling(self, inverse):
        """Return the factors that undo the scaling of images and scale features."""
        factors = inverse ** (self.network.degree * (1 - self.network.normalize))
        if self.network.scale == 1:
            return factors
        # Each of the two may be out of the range of float32.
        return (factors.astype(np.float64) * self.network.scale).astype(inverse.dtype)

    def feature_blocks(self, images, xp=None):
        """Yield the slice of each block and its features, (block size, n_features).

        See ``blocks`` for the parameters.
        """
        for rows, maps in self.blocks(images, xp):
            yield rows, maps.reshape(len(maps), -1)

    def features(self, images, xp=None, task=None):
        """Return the features of images.

        Parameters
        ----------
        images, xp
            See ``blocks``.
        task : Task or None, default=None
            Parent of the tasks that report the progress, one for each block.

        Returns
        -------
        features : array of shape (n, n_features)
        """
        task = Task() if task is None else task
        xp = self.engine.xp if xp is None else xp
        features = None
        for rows, block in task.each("block", self.feature_blocks(images, xp)):
            if len(block) == len(images) and self._makes_new_arrays(xp):
                return block
            if features is None:
                features = self._empty_features(len(images), xp)
            features[rows] = block
        return self._empty_features(0, xp) if features is None else features

    def _makes_new_arrays(self, xp):
        """Return whether the maps of a block are new arrays and not reused buffers."""
        return xp is self.engine.xp and len(self.network.layers) > 0

    def _empty_features(self, n_images, xp):
        return xp.empty((n_images, self.network.n_features), self.dtype)

    def resident_features(self, images, task=None):
        """Return the features of images on the engine's device if they fit there.

        If they do not fit, they are returned as a NumPy array. See ``features``.
        """
        return self.features(images, self.residence(len(images)), task)

    def residence(self, n_images):
        """Return the namespace whose memory has room for the features of the images."""
        n_bytes = n_images * self.network.n_features * self.dtype.itemsize
        return self.engine.xp if self.engine.has_room_for(n_bytes) else np

    def maps(self, images):
        """Return the maps of images, (n, H', W', p), in the namespace of the images."""
        features = self.features(images, namespace(images))
        return features.reshape(len(images), *self.network.output_shape)

    @property
    def tape_bytes_per_image(self):
        """Memory in bytes of one image from ``forward`` to the end of ``backward``."""
        network = self.network
        per_copy = self.engine.tape_bytes_per_image(network, self.dtype.itemsize)
        return network.n_copies * per_copy

    def forward(self, images):
        """Map a batch of images as one block, and record what ``backward`` needs.

        Parameters
        ----------
        images : array of shape (n, H, W, C), ``dtype``
            Array of the engine's namespace.

        Returns
        -------
        forward : ForwardPass
            Valid until the next call of this method.

        Raises
        ------
        NotImplementedError
            A layer has ``center_patches`` or not ``keep_norm``: the engines have no
            gradients for them.
        """
        if not all(settings.responds_by_norm for settings in self.network.settings):
            raise NotImplementedError(
                "There are no gradients of layers with center_patches=True or "
                "keep_norm=False."
            )
        n, n_copies = len(images), self.network.n_copies
        images = self._preprocessed(images)
        if self.network.flip_average:
            images = self.engine.xp.concatenate([images, images[:, :, ::-1]])
        # A batch of images that are not C-contiguous is not C-contiguous either.
        scaled, inverse = self.engine.scale(self.engine.xp.ascontiguousarray(images))
        maps, tape = self.engine.encode_with_tape(scaled, self._prepared)
        if n_copies > 1:
            maps /= n_copies
        features = maps.reshape(n_copies, n, -1).sum(axis=0)
        norms, power = None, self.network.normalize
        if power > 0:
            features, norms = normalized(features, power)
        unscaling = self._unscaling(inverse)
        features *= unscaling[:n].reshape(n, 1)
        return ForwardPass(features, maps.shape, tape, inverse, unscaling, norms)

    def backward(self, forward, gradient, feature_scale):
        """Compute the gradients of a scalar function with respect to the layers.

        Parameters
        ----------
        forward : ForwardPass
        gradient : array of shape (n, n_features), float64
            Gradient with respect to the features divided by ``feature_scale``.
        feature_scale : float
            The number by which the features were divided.

        Returns
        -------
        layer_gradients : list of LayerGradients
        """
        # The quotient is computed in float64: both numbers have the scale of the
        # images, which may be tiny.
        factors = forward.unscaling.astype(np.float64) / feature_scale
        layer_gradients, _ = self._back_propagate(forward, gradient, factors)
        return layer_gradients

    def image_gradient(self, images, gradient):
        """Compute the gradients of scalar functions with respect to the images.

        Parameters
        ----------
        images : array of shape (n, H, W, C), ``dtype``
            Array of the engine's namespace.
        gradient : array of shape (n, n_features), float64
            Gradient of the function of each image with respect to its features.

        Returns
        -------
        image_gradient : array of shape (n, H, W, C), ``dtype``
            Where a patch of a layer is zero, the network is not differentiable, and
            nothing is passed on.
        """
        network, forward = self.network, self.forward(images)
        # The scaled images are the images divided by ``inverse``.
        factors = forward.unscaling.astype(np.float64) / forward.inverse
        _, mapped = self._back_propagate(forward, gradient, factors, to_images=True)
        if network.flip_average:
            mapped = mapped[: len(images)] + mapped[len(images) :, :, ::-1]
        if network.whitening is not None:
            mapped = network.whitening.apply_transposed(mapped, self.engine)
        return transposed_differences(mapped) if network.differences else mapped

    def _back_propagate(self, forward, gradient, factors, *, to_images=False):
        """Return the gradients with respect to layers and preprocessed, scaled images.

        Parameters
        ----------
        forward : ForwardPass
        gradient : array of shape (n, n_features), float64
            Gradient with respect to the features.
        factors : array of shape (n_maps, 1, 1, 1), float64
            Factors of the gradient with respect to the maps; those of
            ``forward.unscaling`` are not applied.
        to_images : bool, default=False

        Returns
        -------
        layer_gradients : list of LayerGradients
        image_gradient : array of shape (n_maps, H, W, C) or None
        """
        power = self.network.normalize
        if power > 0:
            # The derivative of f / |f|^power.
            unit = unit_rows(forward.features.astype(np.float64))
            along = (gradient * unit).sum(axis=1, keepdims=True)
            gradient = (gradient - power * along * unit) * forward.norms**-power
        if self.network.flip_average:
            gradient = self.engine.xp.concatenate([gradient, gradient]) / 2
        gradient = (gradient.reshape(forward.map_shape) * factors).astype(self.dtype)
        return self.engine.encode_backward(
            forward.tape, self._prepared, gradient, to_images=to_images
        )
