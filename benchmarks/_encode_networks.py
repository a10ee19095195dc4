"""The networks that the benchmark of encoding maps images through."""

from dataclasses import dataclass
from math import prod

import numpy as np

from sklearn_ckn._layer import Layer, LayerSettings, map_shapes
from sklearn_ckn._norms import unit_rows

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
    n_anchors, subsampling : tuple of int
        Of each layer.
    patch_size : int
    n_images : int
        In a call of ours.
    batch_sizes : tuple of int
        That the peer may choose from.
    """

    image_shape: tuple
    n_anchors: tuple
    subsampling: tuple
    patch_size: int
    n_images: int
    batch_sizes: tuple

    def layers(self):
        """Return the layers, in float32."""
        rng = np.random.RandomState(0)
        layers = []
        n_channels = self.image_shape[2]
        for n_anchors, subsampling in zip(
            self.n_anchors, self.subsampling, strict=True
        ):
            settings = LayerSettings(
                n_anchors=n_anchors,
                patch_size=self.patch_size,
                subsampling=subsampling,
                kernel="exp",
                beta=2.8,
                padding="same",
                nystrom_reg=1e-3,
            )
            anchors = unit_rows(rng.randn(n_anchors, self.patch_size**2 * n_channels))
            layers.append(Layer.from_anchors(settings, anchors).astype("f4"))
            n_channels = n_anchors
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
        layers = self.layers()
        shapes = map_shapes(self.image_shape, layers)
        products = sum(
            prod(layer.settings.response_shape(shape)) * layer.anchors.size
            for layer, shape in zip(layers, shapes, strict=False)
        )
        projections = sum(prod(shape) * shape[2] for shape in shapes[1:])
        return products, projections

    def product_shapes(self):
        """Return (rows, length, columns) of the layers' products as of matrices."""
        return [(PRODUCT_ROWS, *layer.anchors.shape[::-1]) for layer in self.layers()]


NETWORKS = {
    "a": Network((32, 32, 3), (64, 256), (2, 6), 3, 256, (16, 64, 256)),
    "b": Network((32, 32, 3), (256, 1024), (2, 6), 3, 64, (16, 64)),
    "c": Network((28, 28, 1), (50,), (2,), 5, 256, (16, 64, 256)),
}
