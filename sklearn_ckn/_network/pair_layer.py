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
        Matrices of the pooling along the height and along the width, see
        ``pooling_matrix``.
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
        """Compute the inner products of patches from those of pixels.

        Parameters
        ----------
        products : ndarray of shape (n_pairs, pixels, pixels)

        Returns
        -------
        sums : ndarray of shape (n_pairs, n_positions, n_positions)
            For each pair of positions, the sum over the pixels of the two patches, at
            the same offset in both.
        """
        n_pairs = len(products)
        products = products.reshape(n_pairs, *self.map_size, *self.map_size)
        padded = np.pad(products, ((0, 0), *self.padding, *self.padding))
        height, width = self.settings.response_shape(self.map_size)
        patch_height, patch_width = self.settings.patch_shape(self.map_size)
        gap = self.settings.dilation
        rows = padded[:, :height, :, :height].copy()
        for i in range(gap, gap * patch_height, gap):
            rows += padded[:, i : i + height, :, i : i + height]
        sums = rows[:, :, :width, :, :width].copy()
        for i in range(gap, gap * patch_width, gap):
            sums += rows[:, :, i : i + width, :, i : i + width]
        return sums.reshape(n_pairs, self.n_positions, self.n_positions)

    def pool(self, products):
        """Pool both maps of each pair.

        Parameters
        ----------
        products : ndarray of shape (n_pairs, n_positions, n_positions)
            A matrix K for each pair.

        Returns
        -------
        pooled : ndarray of shape (n_pairs, n_pooled, n_pooled)
            P K P^T, where P is the matrix of the pooling of a map.
        """
        if self.settings.subsampling == 1:
            return products
        for _ in range(2):
            products = self._pool_left(products).transpose(0, 2, 1)
        return products

    def _pool_left(self, products):
        """Return P K, computed along one axis of the map after the other."""
        n_pairs, _, n_right = products.shape
        down, along = self.pooling
        height, width = down.shape[1], along.shape[1]
        rows = down @ products.reshape(n_pairs, height, width * n_right)
        columns = along @ rows.reshape(n_pairs * len(down), width, n_right)
        return columns.reshape(n_pairs, len(down) * len(along), n_right)
