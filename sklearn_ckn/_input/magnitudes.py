"""Magnitudes of the images of a fit, by which images in other units are recognised."""

from dataclasses import dataclass
from math import log10, prod

import numpy as np
from sklearn.utils import gen_batches

from sklearn_ckn._common.arrays import namespace, to_namespace, to_numpy
from sklearn_ckn._common.cache_blocks import cache_rows
from sklearn_ckn._common.user_warnings import warn_user

#: Magnitudes are measured on at most so many images, which lie in so many places of the
#: data set: files and Dask arrays read few of their blocks for them.
N_IMAGES = 256
N_PLACES = 16

#: Values of images that are measured at most, unless a single image in each place has
#: more.
N_VALUES = 2**20

# Deviations that are a smaller part of the root mean square may be rounding errors of
# float32.
SMALLEST_DEVIATION = 1e-6

#: The quantiles of the images of the fit between which magnitudes are usual.
QUANTILES = (0.01, 0.5, 0.99)

#: Images are in other units if their median is beyond the usual magnitudes by this
#: power of ten, ...
USUAL_POWER = 1
#: ... and, where only a few images can be judged, beyond the median of the fit by this
#: one: a single image may be very dark.
FEW_IMAGES = 8
MEDIAN_POWER = 2


@dataclass(frozen=True, eq=False)
class UsualMagnitudes:
    """Quantiles of the magnitudes of the images of a fit.

    Attributes
    ----------
    quantiles : ndarray of shape (3, 3), float64
        For each row of ``_magnitudes`` the quantiles QUANTILES.
    """

    quantiles: np.ndarray

    @classmethod
    def of_images(cls, images):
        """Measure some of the images of a fit.

        Parameters
        ----------
        images : Images

        Returns
        -------
        usual : UsualMagnitudes or None
            None if all of these images are blank.
        """
        magnitudes = _magnitudes(images.array)
        if not magnitudes.size:
            return None
        return cls(np.quantile(magnitudes, QUANTILES, axis=1).T)

    def warn_of_units(self, images):
        """Warn if images are in other units than those of the fit.

        Parameters
        ----------
        images : Images
        """
        if images.largest == 0:
            return
        # Only where their largest value is unusual, images are measured.
        low, _, high = self.quantiles[0]
        if low - USUAL_POWER <= log10(images.largest) <= high + USUAL_POWER:
            return
        magnitudes = _magnitudes(images.array)[1:]
        if not magnitudes.size:
            return
        # A shift of the level changes the root mean square alone, and a change of
        # contrast the deviation alone, but another unit changes both.
        given = np.median(magnitudes, axis=1)
        low, middle, high = self.quantiles[1:].T
        enough = MEDIAN_POWER if magnitudes.shape[1] < FEW_IMAGES else 0
        if (given < np.minimum(low - USUAL_POWER, middle - enough)).all():
            comparison, remedy = "smaller", "multiply"
        elif (given > np.maximum(high + USUAL_POWER, middle + enough)).all():
            comparison, remedy = "larger", "divide"
        else:
            return
        factor = float(f"{10 ** min(abs(given - middle)[0], 300):.2g}")
        warn_user(
            f"X seems to be in other units than the images of the fit: its values are "
            f"about {factor:g} times {comparison}. Give fit and all other methods the "
            "same units, for example values from 0 to 255, or from 0 to 1, everywhere: "
            f"{remedy} X by the ratio of the units."
        )


def _magnitudes(images):
    """Measure some images, those that are not blank.

    Parameters
    ----------
    images : array of shape (n, H, W, C), or LazyArray

    Returns
    -------
    magnitudes : ndarray of shape (3, m), float64
        Decimal logarithms, so that no unit leaves the range of float64, of the largest
        absolute value, of the root mean square, and of the standard deviation of the
        pixels of a channel; the last is at least SMALLEST_DEVIATION of the one before.
        None (m = 0) if there is no memory for them, which is no reason to fail.
    """
    places = _places(len(images), prod(images.shape[1:]))
    try:
        some = to_numpy(images[to_namespace(places, namespace(images))])
    except MemoryError:
        return np.empty((3, 0))
    some = some.reshape(len(some), -1, images.shape[-1])
    # Of float64, with several arrays for what is computed.
    n_rows = max(1, cache_rows(prod(some.shape[1:]), np) // 8)
    rows = gen_batches(len(some), n_rows)
    return np.hstack([_magnitudes_of_block(some[part]) for part in rows])


def _magnitudes_of_block(pixels):
    """Return the magnitudes of images (n, H*W, C) that are not blank."""
    pixels = pixels.astype(np.float64)
    largest = abs(pixels).max(axis=(1, 2))
    pixels, largest = pixels[largest > 0], largest[largest > 0]
    pixels /= largest[:, np.newaxis, np.newaxis]
    size = np.sqrt((pixels**2).mean(axis=(1, 2)))
    deviation = np.sqrt(pixels.var(axis=1).mean(axis=1))
    deviation = np.maximum(deviation, SMALLEST_DEVIATION * size)
    scale = np.log10(largest)
    return np.stack([scale, scale + np.log10(size), scale + np.log10(deviation)])


def _places(n_images, n_values):
    """Return the positions of the images that are measured: N_PLACES runs of them.

    Parameters
    ----------
    n_images : int
    n_values : int
        Of an image.
    """
    n_measured = min(N_IMAGES, max(N_VALUES // n_values, N_PLACES))
    if n_images <= n_measured:
        return np.arange(n_images)
    run = n_measured // N_PLACES
    starts = np.linspace(0, n_images - run, N_PLACES).astype(np.intp)
    return np.unique(starts[:, np.newaxis] + np.arange(run))
