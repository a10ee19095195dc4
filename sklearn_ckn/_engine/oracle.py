"""The oracle: a slow engine in readable array code, which tests compare with.

No estimator uses it.
"""

from itertools import product

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import row_norms
from sklearn_ckn._engine.array import ArrayEngine, PatchScalars
from sklearn_ckn._network.kernels import kernel_derivatives, kernel_values
from sklearn_ckn._network.pooling import pooling_matrix
from sklearn_ckn._network.unfold import SMALLEST_NORM, unfold


class ArraySteps:
    """What the array engine does around its matrix products.

    ``m`` is the number of positions of all images, n * H1 * W1, and ``shape`` is
    (n, H1, W1). Products are those of patches and anchors minus their mean.
    """

    def unfold(self, maps, mean, settings):
        """Return patches and what is known of them.

        Parameters
        ----------
        maps : array of shape (n, H, W, C)
        mean : array of shape (kh * kw * C,)
            Of the anchors.
        settings : LayerSettings

        Returns
        -------
        patches : array of shape (m, kh * kw * C)
        scalars : PatchScalars
        """
        xp = namespace(maps)
        patches = unfold(maps, settings)
        patches = patches.reshape(-1, patches.shape[-1])
        # In float64, where the squares of small values do not vanish.
        norms = row_norms(patches)[:, np.newaxis]
        inverse_norms = xp.where(
            norms > SMALLEST_NORM, 1 / xp.maximum(norms, SMALLEST_NORM), 0
        )
        return patches, PatchScalars(
            norms.astype(maps.dtype),
            inverse_norms.astype(maps.dtype),
            patches @ mean[:, np.newaxis],
        )

    def cosines(self, products, scalars):
        """Return the cosines of patches and anchors, (m, p), in [-1, 1]."""
        cosines = (products + scalars.offsets) * scalars.inverse_norms
        # Rounding can put them a little outside.
        return namespace(products).clip(cosines, -1, 1)

    def respond(self, products, scalars, settings):
        """Return the responses norm * kappa(product / norm), (m, p)."""
        cosines = self.cosines(products, scalars)
        values = kernel_values(cosines, settings.kernel, settings.beta)
        xp = namespace(products)
        return xp.where(scalars.inverse_norms > 0, scalars.norms * values, 0)

    def respond_and_pool(self, products, scalars, shape, settings, sum_dtype):
        """Return the pooled responses.

        Parameters
        ----------
        products : array of shape (m, p)
        scalars : PatchScalars
        shape : tuple of int
        settings : LayerSettings
        sum_dtype : dtype
            In which responses are added.

        Returns
        -------
        pooled : array of shape (n, H', W', p), ``sum_dtype``
        """
        responses = self.respond(products, scalars, settings)
        responses = responses.reshape(*shape, -1).astype(sum_dtype, copy=False)
        down, along = self._pooling(shape, settings, responses)
        xp = namespace(responses)
        rows = xp.einsum("ih,nhwp->niwp", down, responses)
        return xp.einsum("jw,niwp->nijp", along, rows)

    @staticmethod
    def _pooling(shape, settings, like):
        """Return the pooling of the two axes as matrices, in the dtype of ``like``."""
        return [
            namespace(like).asarray(
                pooling_matrix(size, settings.subsampling).astype(like.dtype)
            )
            for size in shape[1:]
        ]

    def differentiate(self, pooled_gradient, products, scalars, shape, settings):
        """Follow a gradient in the pooled responses back to products and norms.

        Parameters
        ----------
        pooled_gradient : array of shape (n, H', W', p)
        products, scalars, shape, settings
            See ``respond_and_pool``.

        Returns
        -------
        product_gradients : array of shape (m, p)
        coefficients : array of shape (m, 1)
            The gradient in the norms over the norms: times a patch, the part of its
            gradient that its norm has.
        beta_gradients : array of shape (m,)
            Shares of the positions in the slope in beta.
        """
        xp = namespace(products)
        down, along = self._pooling(shape, settings, products)
        rows = xp.einsum("jw,nijp->niwp", along, pooled_gradient)
        gradient = xp.einsum("ih,niwp->nhwp", down, rows).reshape(products.shape)
        gradient = xp.where(scalars.inverse_norms > 0, gradient, 0)
        cosines = self.cosines(products, scalars)
        # norm * kappa(product / norm), by the product, by beta and by the norm
        derivative, beta_derivative = kernel_derivatives(
            cosines, settings.kernel, settings.beta
        )
        values = kernel_values(cosines, settings.kernel, settings.beta)
        norm_gradients = (gradient * (values - cosines * derivative)).sum(
            axis=1, keepdims=True
        )
        beta_gradients = (gradient * scalars.norms * beta_derivative).sum(axis=1)
        return (
            gradient * derivative,
            norm_gradients * scalars.inverse_norms,
            beta_gradients,
        )

    def fold(self, patch_gradients, coefficients, maps, settings):
        """Add the gradient of patches where they were taken from.

        Parameters
        ----------
        patch_gradients : array of shape (m, kh * kw * C)
            Without the parts that norms have.
        coefficients : array of shape (m, 1)
        maps : array of shape (n, H, W, C)
        settings : LayerSettings

        Returns
        -------
        gradient : array of shape (n, H, W, C)
        """
        n_images, height, width, n_channels = maps.shape
        rows, columns = settings.response_shape(maps.shape[1:])
        (top, bottom), (left, right) = map(settings.pad_axis, (height, width))
        xp = namespace(maps)
        shape = (n_images, top + height + bottom, left + width + right)
        gradient = xp.zeros((*shape, n_channels), dtype=maps.dtype)
        # how much every pixel enters the norms of the patches that it is in
        shares = xp.zeros((*shape, 1), dtype=maps.dtype)
        patch_gradients = patch_gradients.reshape(n_images, rows, columns, -1)
        coefficients = coefficients.reshape(n_images, rows, columns, 1)
        offsets = product(*map(range, settings.patch_shape(maps.shape[1:])))
        for i, (row, column) in enumerate(offsets):
            window = np.s_[:, row : row + rows, column : column + columns]
            channels = slice(i * n_channels, (i + 1) * n_channels)
            gradient[window] += patch_gradients[..., channels]
            shares[window] += coefficients
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        return gradient[inside] + shares[inside] * maps

    def sum_groups(self, points, labels, n_groups):
        """Add the points of each group; see ``Engine.sum_groups``."""
        members = labels == namespace(labels).arange(n_groups)[:, np.newaxis]
        return members.astype(np.float64) @ points.astype(np.float64)


class OracleEngine(ArrayEngine):
    """The array engine with the readable steps, on NumPy: slow, for comparisons."""

    name = "oracle"

    def __init__(self):
        super().__init__(np, ArraySteps())

    def release_memory(self):
        """Do nothing: no memory is kept."""
