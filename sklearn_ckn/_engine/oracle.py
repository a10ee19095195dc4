"""The oracle: a slow engine in readable array code, the reference of the tests.

No estimator uses it.
"""

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.norms import row_norms
from sklearn_ckn._engine.array import ArrayEngine, PatchScalars
from sklearn_ckn._network.kernels import kernel_derivatives, kernel_values
from sklearn_ckn._network.pooling import pooling_matrix
from sklearn_ckn._network.unfold import (
    SMALLEST_NORM,
    centred_patches,
    patch_offsets,
    unfold,
)


class ArraySteps:
    """The steps between a layer's matrix products, in NumPy code.

    m = n * H1 * W1 is the number of positions of all images, and the parameter
    ``shape`` is (n, H1, W1). ``products`` are the inner products of the patches with
    the centred anchors, that is, the anchors minus their mean.
    """

    def unfold(self, maps, mean, settings):
        """Return all patches, their norms and their products with the mean anchor.

        Parameters
        ----------
        maps : array of shape (n, H, W, C)
        mean : array of shape (kh * kw * C,)
            Mean of the anchors.
        settings : LayerSettings

        Returns
        -------
        patches : array of shape (m, kh * kw * C)
        scalars : PatchScalars
            With the norms of the centred patches, or ones, if the settings say so.
        """
        xp = namespace(maps)
        patches = unfold(maps, settings)
        patches = patches.reshape(-1, patches.shape[-1])
        # The norms are computed in float64, where squares of small values do not
        # underflow.
        if settings.center_patches:
            norms = row_norms(centred_patches(patches, maps.shape[3]))[:, np.newaxis]
        else:
            norms = row_norms(patches)[:, np.newaxis]
        inverse_norms = xp.where(
            norms > SMALLEST_NORM, 1 / xp.maximum(norms, SMALLEST_NORM), 0
        )
        if not settings.keep_norm:
            norms = xp.ones_like(norms)
        return patches, PatchScalars(
            norms.astype(maps.dtype),
            inverse_norms.astype(maps.dtype),
            patches @ mean[:, np.newaxis],
        )

    def cosines(self, products, scalars):
        """Return the cosines of patches and anchors, (m, p), in [-1, 1]."""
        cosines = (products + scalars.offsets) * scalars.inverse_norms
        # Rounding can put them slightly outside.
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
            Dtype in which responses are added.

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
        """Compute the gradients with respect to products, norms and beta.

        Parameters
        ----------
        pooled_gradient : array of shape (n, H', W', p)
            Gradient with respect to the pooled responses.
        products, scalars, shape, settings
            See ``respond_and_pool``.

        Returns
        -------
        product_gradients : array of shape (m, p)
        coefficients : array of shape (m, 1)
            Gradients with respect to the norms, divided by the norms. A patch times its
            coefficient is the part of the gradient with respect to the patch that comes
            from its norm.
        beta_gradients : array of shape (m,)
            Contributions of the positions to the gradient with respect to beta.
        """
        xp = namespace(products)
        down, along = self._pooling(shape, settings, products)
        rows = xp.einsum("jw,nijp->niwp", along, pooled_gradient)
        gradient = xp.einsum("ih,niwp->nhwp", down, rows).reshape(products.shape)
        gradient = xp.where(scalars.inverse_norms > 0, gradient, 0)
        cosines = self.cosines(products, scalars)
        # The derivatives of norm * kappa(product / norm) with respect to the product,
        # to beta and to the norm.
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
        """Turn gradients with respect to patches into one with respect to the maps.

        Each pixel gets the sum over all patches that it belongs to.

        Parameters
        ----------
        patch_gradients : array of shape (m, kh * kw * C)
            Without the parts that come from the norms.
        coefficients : array of shape (m, 1)
            See ``differentiate``.
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
        # For each pixel, the sum of the coefficients of the patches that it belongs to.
        shares = xp.zeros((*shape, 1), dtype=maps.dtype)
        patch_gradients = patch_gradients.reshape(n_images, rows, columns, -1)
        coefficients = coefficients.reshape(n_images, rows, columns, 1)
        offsets = patch_offsets(settings, maps.shape[1:])
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
    """The array engine with NumPy and ``ArraySteps``: slow, for comparisons."""

    name = "oracle"

    def __init__(self):
        super().__init__(np, ArraySteps())

    def release_memory(self):
        """Do nothing: no memory is kept."""
