"""The networks that the benchmark of encoding maps images through."""

from dataclasses import dataclass
from math import prod

import numpy as np

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import Network as LearnedNetwork
from sklearn_ckn._network.settings import LayerSettings

# Rows of the matrix products that a layer is compared with, enough to be at the
# matrix product's full rate.
PRODUCT_ROWS = 16_384


@dataclass(frozen=True)
class Network:
    """A network with random unit anchors, and the images it is timed on.

    Attributes
    ----------
    image_shape : tuple of int
        (H, W, C).
    n_anchors, subsampling, patch_size : tuple of int
        Of each layer.
    n_images : int
        In a call of ours.
    batch_sizes : tuple of int
        That each peer may choose from.
    """

    image_shape: tuple
    n_anchors: tuple
    subsampling: tuple
    patch_size: tuple
    n_images: int
    batch_sizes: tuple

    def settings(self):
        """Return the settings of each layer."""
        return [
            LayerSettings(
                n_anchors=n_anchors,
                patch_size=patch_size,
                subsampling=subsampling,
                kernel="exp",
                beta=2.8,
                padding="same",
                nystrom_reg=1e-3,
            )
            for n_anchors, subsampling, patch_size in zip(
                self.n_anchors, self.subsampling, self.patch_size, strict=True
            )
        ]

    def layers(self, xp=np):
        """Return the layers, in float32.

        Parameters
        ----------
        xp : module, default=numpy
            Where the projections are computed; the layers are NumPy arrays.
        """
        rng = np.random.RandomState(0)
        layers = []
        shape = self.image_shape
        for settings in self.settings():
            length = settings.patch_length(shape)
            anchors = unit_rows(rng.randn(settings.n_anchors, length))
            layer = Layer.from_anchors(settings, xp.asarray(anchors))
            layers.append(layer.to_namespace(np).with_anchors_as("f4"))
            shape = settings.output_shape(shape)
        return layers

    def images(self, n_images=None, side=None):
        """Return images of uniform noise, float32, square ones of ``side`` if given."""
        height, width, n_channels = self.image_shape
        shape = (side or height, side or width, n_channels)
        rng = np.random.RandomState(1)
        return rng.uniform(size=(n_images or self.n_images, *shape)).astype(np.float32)

    def multiply_adds(self):
        """Count those of the direct algorithm for one image.

        Returns
        -------
        products : int
            Of patches with anchors.
        projections : int
            On the pooled grid.
        """
        shape = self.image_shape
        products = projections = 0
        for settings in self.settings():
            output = settings.output_shape(shape)
            products += (
                prod(settings.response_shape(shape))
                * settings.n_anchors
                * settings.patch_length(shape)
            )
            projections += prod(output) * settings.n_anchors
            shape = output
        return products, projections

    def product_shapes(self):
        """Return (rows, length, columns) of the layers' products as of matrices."""
        channels = (self.image_shape[2], *self.n_anchors)
        return [
            (PRODUCT_ROWS, size**2 * length, columns)
            for size, length, columns in zip(
                self.patch_size, channels, self.n_anchors, strict=False
            )
        ]


NETWORKS = {
    "a": Network((32, 32, 3), (64, 256), (2, 6), (3, 3), 256, (8, 16, 32, 64)),
    "b": Network((32, 32, 3), (256, 1024), (2, 6), (3, 3), 64, (4, 8, 16)),
    "c": Network((28, 28, 1), (50,), (2,), (5,), 256, (8, 16, 64, 256)),
}


def prepare(engine, layers, images):
    """Return layers as an engine prepares them for images of this shape and dtype."""
    return engine.prepare(LearnedNetwork(tuple(layers), images.shape[1:]), images.dtype)


def bind(engine, layers, images):
    """Return the encoder of layers for images of this shape, in float32."""
    return engine.bind(LearnedNetwork(tuple(layers), images.shape[1:]), np.float32)
