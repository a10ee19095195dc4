"""The exact kernel of a network, computed for one pair of images after the other."""

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
    """What is computed of each image before it is compared with others.

    Attributes
    ----------
    exponents : ndarray of shape (n,)
        The images are multiplied by 2^-exponent, which keeps all numbers in range.
    units : ndarray of shape (n, n_positions, kh * kw * C)
        Patches of the images, divided by their norms.
    norms : list of ndarray of shape (n, n_positions)
        Norms of the patches that each layer takes.
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
    """The kernel between images of one shape that a network with settings approximates.

    Attributes
    ----------
    layers : list of PairLayer
    image_shape : tuple of int
        (H, W, C).
    flip_average : bool
        Whether to average over the left-right flips of both images.
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
        """How many images stand for each one: 2 with its mirror image, else 1."""
        return 1 + self.flip_average

    @cached_property
    def pair_values(self):
        """Number of float64 values that the comparison of two images takes."""
        first = self.layers[0]
        patches = first.n_positions * first.settings.patch_length(self.image_shape)
        # Six arrays of the kernel function's steps exist at the same time.
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
        """Memory that the comparison of two images takes."""
        return np.dtype(np.float64).itemsize * self.pair_values

    def matrix(self, left, right):
        """Return the kernel matrix of two sets of images.

        Parameters
        ----------
        left, right : ndarray of shape (n, H, W, C), float64
            The same object for the symmetric matrix of one set.

        Returns
        -------
        K : ndarray of shape (n_left, n_right), float64
            Infinite where a value leaves the range of float64.
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
        """Return the ImageSet of images, followed by that of their mirror images."""
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
        """Call a function with slices that divide ``n_items`` pairs or images.

        Each slice takes memory for its pairs, or images; threads share
        scikit-learn's ``working_memory``.
        """
        budget = Budget(working_memory_bytes())
        n_workers = min(effective_n_jobs(self.n_jobs), budget.n_rows(self.pair_bytes))

        def compute(slices):
            if len(slices) == 1:
                return map(task, slices)
            # Threads, since the slices are written into one array.
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
    """Return the positions of the images of the pairs that a slice numbers.

    Parameters
    ----------
    part : slice
        Of the numbers of pairs: 0 to n_left * n_right - 1 or, if the images on both
        sides are the same, 0 to n_left * (n_left + 1) / 2 - 1.
    n_left, n_right : int
    symmetric : bool

    Returns
    -------
    rows, columns : ndarray of shape (n_pairs,)
        With ``symmetric`` no column is smaller than its row, and every pair has one
        number.
    """
    numbers = np.arange(part.start, part.stop)
    if not symmetric:
        return np.divmod(numbers, n_right)
    # Image i is paired with the images i, i + 1, ..., i + n / 2, counted modulo n. This
    # gives every pair once; if n is even, only half of the images take the last step.
    steps, first = np.divmod(numbers, n_left)
    second = (first + steps) % n_left
    return np.minimum(first, second), np.maximum(first, second)


def _map_products(left, right, layers):
    """Return the inner products between the pixels of the maps of pairs of images.

    Every pair has matrix products of its own, whose shapes depend on the shape of the
    images alone. Its values therefore do not depend on the other pairs.

    Parameters
    ----------
    left, right : ImageSet
        The first and the second images of the pairs.
    layers : list of PairLayer
        The layers that the images go through, at least one.

    Returns
    -------
    products : ndarray of shape (n_pairs, U, V), float64
        Between the pixel at position u of the one map and that at v of the other.
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
    """Return 1 / norms, and 0 for 0."""
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)


def _pooled_kernel(cosines, left_norms, right_norms, layer):
    """Return the pooled kernel between patches of given cosines and norms."""
    products = kernel_values(cosines, layer.settings.kernel, layer.settings.beta)
    products *= left_norms[:, :, np.newaxis]
    products *= right_norms[:, np.newaxis, :]
    return layer.pool(products)
