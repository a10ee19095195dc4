"""The exact kernel of a network, computed in blocks of pairs of images."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from sklearn_ckn._common.cache_blocks import PAIR_BLOCK_VALUES, rows_of_block
from sklearn_ckn._common.memory_limits import Budget, working_memory_bytes
from sklearn_ckn._common.norms import image_scales, row_norms, unit_rows
from sklearn_ckn._network.kernels import kernel_values
from sklearn_ckn._network.pair_layer import PairLayer
from sklearn_ckn._network.pooling import pooling_matrix
from sklearn_ckn._network.unfold import SMALLEST_NORM, unfold


@dataclass(frozen=True)
class ImageSet:
    """Quantities that are computed once for each image, before images are compared.

    Attributes
    ----------
    exponents : ndarray of shape (n,)
        The images are multiplied by 2^-exponent, so that no number overflows or
        underflows.
    units : ndarray of shape (n, n_positions, kh * kw * C)
        Patches of the images, divided by their norms.
    norms : list of ndarray of shape (n, n_positions)
        For each layer, the norms of the patches of its input.
    """

    exponents: np.ndarray
    units: np.ndarray
    norms: list

    def __len__(self):
        return len(self.exponents)

    def __getitem__(self, index):
        return ImageSet(
            self.exponents[index],
            self.units[index],
            [norms[index] for norms in self.norms],
        )


@dataclass(frozen=True)
class PairKernel:
    """The kernel between images of one shape that a network approximates.

    Attributes
    ----------
    layers : list of PairLayer
    image_shape : tuple of int
        (H, W, C).
    flip_average : bool
        Whether to average over both images and their mirror images.
    n_jobs : int or None
        Number of threads.
    """

    layers: list
    image_shape: tuple
    flip_average: bool
    n_jobs: int | None

    @classmethod
    def from_settings(cls, all_settings, image_shape, flip_average, n_jobs):
        """Build the kernel from the LayerSettings of every layer."""
        layers, shape = [], image_shape
        for settings in all_settings:
            sizes = settings.response_shape(shape)
            pooling = tuple(pooling_matrix(n, settings.subsampling) for n in sizes)
            layers.append(PairLayer(settings, shape[:2], pooling))
            shape = settings.output_shape(shape)
        return cls(layers, image_shape, flip_average, n_jobs)

    @property
    def n_copies(self):
        """Number of maps computed for an image: 2 with its mirror image, else 1."""
        return 1 + self.flip_average

    @cached_property
    def pair_values(self):
        """Number of float64 values in memory while two images are compared."""
        first = self.layers[0]
        patches = first.n_positions * first.settings.patch_length(self.image_shape)
        # The evaluation of the kernel function has six arrays at the same time.
        largest = 6 * first.n_positions**2
        for layer in self.layers[1:]:
            padded = prod(
                size + sum(pad)
                for size, pad in zip(layer.map_size, layer.padding, strict=True)
            )
            # The products, their padded copy and the sums over rows and columns.
            sums = 3 * padded**2 + layer.n_positions**2
            largest = max(largest, sums, padded**2 + 6 * layer.n_positions**2)
        return 2 * patches + largest

    @property
    def pair_bytes(self):
        """Memory in bytes that the comparison of two images needs."""
        return np.dtype(np.float64).itemsize * self.pair_values

    def matrix(self, left, right):
        """Return the kernel matrix of two sets of images.

        Parameters
        ----------
        left, right : ndarray of shape (n, H, W, C), float64
            If both are the same object, the matrix is symmetric to the bit, and only
            half of it is computed.

        Returns
        -------
        K : ndarray of shape (n_left, n_right), float64
            Infinite where a value is too large for float64.
        """
        symmetric = right is left
        n_left, n_right = len(left), len(right)
        left = self._prepare(left)
        right = left if symmetric else self._prepare(right)
        K = np.empty((n_left, n_right))

        def compare(part):
            rows, columns = pair_indices(part, n_left, n_right, symmetric)
            totals = np.zeros(len(rows))
            for i, j in product(range(self.n_copies), repeat=2):
                maps = _map_products(
                    left[rows + i * n_left], right[columns + j * n_right], self.layers
                )
                totals += np.einsum("nuu->n", maps)
            totals /= self.n_copies**2
            exponents = left.exponents[rows] + right.exponents[columns]
            with np.errstate(over="ignore", under="ignore"):
                K[rows, columns] = np.ldexp(totals, exponents)
            if symmetric:
                K[columns, rows] = K[rows, columns]

        self._run(compare, n_left * (n_left + 1) // 2 if symmetric else K.size)
        return K

    def _prepare(self, images):
        """Return the ImageSet of images, followed by their mirror images if needed."""
        if self.flip_average:
            images = np.concatenate([images, images[:, :, ::-1]])
        scale, inverse = image_scales(images)
        n_images, first = len(images), self.layers[0]
        length = first.settings.patch_length(self.image_shape)
        image_set = ImageSet(
            np.frexp(inverse.ravel())[1] - 1,
            np.empty((n_images, first.n_positions, length)),
            [np.empty((n_images, layer.n_positions)) for layer in self.layers],
        )
        self._run(
            lambda part: self._fill(image_set[part], images[part] * scale[part]),
            n_images,
        )
        return image_set

    def _fill(self, image_set, scaled):
        """Compute the unit patches of scaled images and the norms in every layer."""
        patches = unfold(scaled, self.layers[0].settings)
        patches = patches.reshape(-1, patches.shape[-1])
        image_set.units[...] = unit_rows(patches).reshape(image_set.units.shape)
        image_set.norms[0][...] = row_norms(patches).reshape(image_set.norms[0].shape)
        for depth in range(1, len(self.layers)):
            maps = _map_products(image_set, image_set, self.layers[:depth])
            products = self.layers[depth].patch_products(maps)
            norms = np.sqrt(np.einsum("nuu->nu", products))
            image_set.norms[depth][...] = np.where(norms > SMALLEST_NORM, norms, 0)

    def _run(self, task, n_items):
        """Call a function with slices that together cover ``n_items`` pairs or images.

        The threads share scikit-learn's ``working_memory``, which limits the length of
        the slices.
        """
        budget = Budget(working_memory_bytes())
        n_workers = min(effective_n_jobs(self.n_jobs), budget.n_rows(self.pair_bytes))

        def compute(slices):
            if len(slices) == 1:
                return map(task, slices)
            # Threads and not processes: all slices are written into one array.
            threads = Parallel(n_jobs=n_workers, require="sharedmem")
            return iter(threads(map(delayed(task), slices)))

        parts = Budget(budget.n_bytes // n_workers).in_parts(
            n_items,
            self.pair_bytes,
            compute,
            at_most=rows_of_block(self.pair_values, PAIR_BLOCK_VALUES),
        )
        for _ in parts:
            pass


def pair_indices(part, n_left, n_right, symmetric):
    """Return the indices of the images of a slice of pairs.

    Parameters
    ----------
    part : slice
        Slice of the pairs, which are numbered from 0 to n_left * n_right - 1 or, if
        ``symmetric``, from 0 to n_left * (n_left + 1) / 2 - 1.
    n_left, n_right : int
        Numbers of images.
    symmetric : bool
        Whether the images on both sides are the same.

    Returns
    -------
    rows, columns : ndarray of shape (n_pairs,)
        With ``symmetric``, no column is smaller than its row, and each unordered pair
        has one number.
    """
    numbers = np.arange(part.start, part.stop)
    if not symmetric:
        return np.divmod(numbers, n_right)
    # Image i is paired with the images i, i + 1, ..., i + n // 2, modulo n. This gives
    # each pair once; if n is even, only half of the images have a last partner.
    steps, first = np.divmod(numbers, n_left)
    second = (first + steps) % n_left
    return np.minimum(first, second), np.maximum(first, second)


def _map_products(left, right, layers):
    """Return the inner products between the pixels of the maps of pairs of images.

    Each pair has separate matrix products, whose shapes depend only on the shape of
    the images. The result for a pair therefore does not depend on the other pairs.

    Parameters
    ----------
    left, right : ImageSet
        The first and the second image of each pair.
    layers : list of PairLayer
        The first layers of the network, at least one.

    Returns
    -------
    products : ndarray of shape (n_pairs, U, V), float64
        Product of the pixel at position u of the first map and the pixel at position v
        of the second map.
    """
    cosines = left.units @ right.units.transpose(0, 2, 1)
    products = _pooled_kernel(cosines, left.norms[0], right.norms[0], layers[0])
    for layer, left_norms, right_norms in zip(
        layers[1:], left.norms[1:], right.norms[1:], strict=False
    ):
        cosines = layer.patch_products(products)
        cosines *= _reciprocals(left_norms)[:, :, np.newaxis]
        cosines *= _reciprocals(right_norms)[:, np.newaxis, :]
        products = _pooled_kernel(cosines, left_norms, right_norms, layer)
    return products


def _reciprocals(norms):
    """Return 1 / norms, and 0 where a norm is 0."""
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)


def _pooled_kernel(cosines, left_norms, right_norms, layer):
    """Return the pooled kernel values between patches, from cosines and norms."""
    products = kernel_values(cosines, layer.settings.kernel, layer.settings.beta)
    products *= left_norms[:, :, np.newaxis]
    products *= right_norms[:, np.newaxis, :]
    return layer.pool(products)
