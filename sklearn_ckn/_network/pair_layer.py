"""One layer of the exact kernel, applied to the inner products of two maps."""

from dataclasses import dataclass
from math import prod

import numpy as np

from sklearn_ckn._network.settings import LayerSettings


@dataclass(frozen=True)
class PairLayer:
    """One layer, applied to the inner products between the maps of two images.

    Attributes
    ----------
    settings : LayerSettings
    map_size : tuple of int
        Height and width of the maps that are its input.
    pooling : tuple of ndarray
        Pooling of the positions along the height and along the width.
    """

    settings: LayerSettings
    map_size: tuple
    pooling: tuple

    @property
    def n_positions(self):
        """Number of patches of a map."""
        return prod(self.settings.response_shape(self.map_size))

    @property
    def padding(self):
        """Number of zeros before and after the rows and the columns of a map."""
        return [self.settings.pad_axis(size) for size in self.map_size]

    def patch_products(self, products):
        """Turn inner products of pixels into those of the patches around them.

        Parameters
        ----------
        products : ndarray of shape (n_pairs, pixels, pixels)

        Returns
        -------
        sums : ndarray of shape (n_pairs, n_positions, n_positions)
            Sums over the pixels of a patch, at the same offset in both images.
        """
        n_pairs = len(products)
        products = products.reshape(n_pairs, *self.map_size, *self.map_size)
        padded = np.pad(products, ((0, 0), *self.padding, *self.padding))
        height, width = self.settings.response_shape(self.map_size)
        patch_height, patch_width = self.settings.patch_shape(self.map_size)
        rows = padded[:, :height, :, :height].copy()
        for i in range(1, patch_height):
            rows += padded[:, i : i + height, :, i : i + height]
        sums = rows[:, :, :width, :, :width].copy()
        for i in range(1, patch_width):
            sums += rows[:, :, i : i + width, :, i : i + width]
        return sums.reshape(n_pairs, self.n_positions, self.n_positions)

    def pool(self, products):
        """Return P K P^T for each pair's K of ``products``, with P the pooling."""
        if self.settings.subsampling == 1:
            return products
        for _ in range(2):
            products = self._pool_left(products).transpose(0, 2, 1)
        return products

    def _pool_left(self, products):
        """Return P K, pooled along one axis of the map after the other."""
        n_pairs, _, n_right = products.shape
        down, along = self.pooling
        height, width = down.shape[1], along.shape[1]
        rows = down @ products.reshape(n_pairs, height, width * n_right)
        columns = along @ rows.reshape(n_pairs * len(down), width, n_right)
        return columns.reshape(n_pairs, len(down) * len(along), n_right)
