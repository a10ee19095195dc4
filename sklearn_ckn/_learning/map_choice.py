"""Choice of whitening and mirror images by the accuracy on held-out images."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ckn._common.memory_limits import fit_in_memory, working_memory_bytes
from sklearn_ckn._common.progress import Task
from sklearn_ckn._input.images import Images
from sklearn_ckn._input.rows import largest_magnitude
from sklearn_ckn._learning.cache import ResilientMemory
from sklearn_ckn._learning.layers import LearningOptions, learn_network
from sklearn_ckn._network.network import Network, check_range, norm_growth
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.whitening import PATCH_SIZE, PatchSpectrum

#: Powers of whitening that are tried, after no whitening.
POWERS = (0.0, 0.25)

#: With fewer images the plainest candidate is taken: differences between candidates
#: would be within their standard errors anyway.
MIN_IMAGES = 50

#: Number of images by which candidates are compared, and the largest number of anchors
#: of their layers.
MAX_IMAGES = 2000
MAX_ANCHORS = 128

#: Small networks keep this many anchors.
MIN_ANCHORS = 16

# A fit takes this many times more patches than the candidates, with at least as many
# patches for an anchor.
PATCHES_RATIO = 4


@dataclass(frozen=True)
class MapCandidate:
    """A way to map images before the head.

    Attributes
    ----------
    whitening : float or None
        Power of the whitening.
    flip_average : bool
    """

    whitening: float | None
    flip_average: bool


@dataclass(frozen=True)
class MapChoice:
    """The candidate that was chosen, and how all of them compare.

    Attributes
    ----------
    chosen : MapCandidate
    results : dict of ndarray, or None
        ``"whitening"``, ``"flip_average"``, ``"loss"``, ``"excess"`` and
        ``"excess_error"``, one value for each candidate, from the plainest; None if
        nothing was compared. The excess is the loss minus the lowest loss, and its
        error the standard error of this difference over the same images.
    """

    chosen: MapCandidate
    results: dict | None


def map_candidates(whitening, flip_average, image_shape):
    """Return the candidates of two parameters, from the plainest.

    Parameters
    ----------
    whitening : float, "auto" or None
    flip_average : bool or "auto"
    image_shape : tuple of int
        (H, W, C). Signals, which have one row or one column, are not mirrored.

    Returns
    -------
    candidates : list of MapCandidate
    """
    is_signal = 1 in image_shape[:2]
    flips = [flip_average]
    if isinstance(flip_average, str):
        flips = [False] if is_signal else [False, True]
    powers = [None, *POWERS] if isinstance(whitening, str) else [whitening]
    return [MapCandidate(power, flip) for flip, power in product(flips, powers)]


def choose_map(images, problem, candidates, parameters, options, engine, random_state):
    """Choose the plainest candidate that is as good as the best one.

    Each candidate is a network of at most half the anchors, learned from some of the
    images, whose features get a ridge head. The loss of each image by the head that is
    fitted without it tells how good the candidate is: 0 or 1 for a wrong class, or the
    squared error. A candidate is as good as the best one if its mean loss is at most
    one standard error higher. The standard error is that of the difference over the
    same images, where images that are held out together count as one.

    Parameters
    ----------
    images : Images
    problem : ClassifierProblem or RegressionProblem
        Of these images.
    candidates : list of MapCandidate
        From the plainest.
    parameters : dict
        Parameters of the network by name.
    options : LearningOptions
        Of the network.
    engine : Engine
    random_state : int, RandomState or None
        An integer gives the sample of images and the networks of the candidates. The
        fit that follows is the same with any number of candidates.

    Returns
    -------
    choice : MapChoice
    """
    settings = resolve_layers(parameters, images.shape)
    if len(candidates) == 1 or len(images) < MIN_IMAGES:
        return MapChoice(candidates[0], None)
    random_state = check_random_state(random_state)
    rows = problem.sample_rows(MAX_IMAGES, random_state)
    seed = random_state.randint(np.iinfo(np.int32).max)
    sample = images[rows]
    problem = problem.of_rows(sample, rows)
    if not problem.can_hold_out:
        return MapChoice(candidates[0], None)
    n_anchors = tuple(_fewer(each.n_anchors) for each in settings)
    n_patches = max(options.n_patches // PATCHES_RATIO, *n_anchors)
    comparison = _Comparison(
        sample,
        problem,
        resolve_layers({**parameters, "n_anchors": n_anchors}, images.shape),
        # The memory keeps the result of the comparison, and none of its steps.
        replace(
            options,
            n_patches=min(n_patches, options.n_patches),
            max_iter=0,
            memory=ResilientMemory(None),
            verbose=0,
        ),
        engine,
        seed,
    )
    measure = options.memory.cache(measure_candidates, ignore=["comparison"])
    key = options.memory.key(sample, engine, comparison.key)
    return compare(candidates, *measure(key, candidates, comparison))


def _fewer(n_anchors):
    """Return the number of anchors of a candidate's layer."""
    half = -(-n_anchors // 2)
    return max(min(half, MAX_ANCHORS), min(n_anchors, MIN_ANCHORS))


def compare(candidates, losses, weights, units):
    """Return the MapChoice by the losses of the same samples with every candidate.

    Parameters
    ----------
    candidates : list of MapCandidate
    losses : ndarray of shape (n_candidates, n)
        NaN for candidates that cannot be computed.
    weights : ndarray of shape (n,)
        Of the samples.
    units : ndarray of shape (n,)
        Samples with the same number, from 0, are not independent of each other.

    Returns
    -------
    choice : MapChoice
    """
    shares = weights / weights.sum()
    means = losses @ shares
    if np.isnan(means).all():
        return MapChoice(candidates[0], None)
    differences = losses - losses[np.nanargmin(means)]
    excess = differences @ shares
    deviations = (differences - excess[:, np.newaxis]) * shares
    squares = [np.sum(np.bincount(units, row) ** 2) for row in deviations]
    # With the unbiased variance, a difference in a single unit is within its error.
    n_units = len(np.unique(units))
    errors = np.sqrt(np.array(squares) * n_units / max(n_units - 1, 1))
    # The tolerance is for sums in another order.
    as_good = np.flatnonzero(excess <= errors + 1e-10)
    results = {
        "whitening": np.array([each.whitening for each in candidates], dtype=object),
        "flip_average": np.array([each.flip_average for each in candidates]),
        "loss": means,
        "excess": excess,
        "excess_error": errors,
    }
    return MapChoice(candidates[as_good[0]], results)


def measure_candidates(key, candidates, comparison):
    """Return losses of candidates, weights and units; the memory stores them by key."""
    return comparison.measure(candidates)


@dataclass
class _Comparison:
    """Computes the losses of candidates on the same images.

    Attributes
    ----------
    images : Images
    problem : ClassifierProblem or RegressionProblem
        Of these images.
    settings : list of LayerSettings
        Of the candidates' networks.
    options : LearningOptions
    engine : Engine
    seed : int
    """

    images: Images
    problem: object
    settings: list
    options: LearningOptions
    engine: object
    seed: int

    @property
    def key(self):
        """What the losses depend on, besides the images and the candidates."""
        return self.settings, self.options.n_patches, self.seed, self.problem.key

    @cached_property
    def _spectrum(self):
        return PatchSpectrum.of_images(self.images.array, PATCH_SIZE, self.engine)

    def measure(self, candidates):
        """Return losses (n_candidates, n), weights (n,) and units (n,)."""
        losses = dict.fromkeys(candidates)
        weights, units = np.ones(1), np.zeros(1, np.intp)
        for power in dict.fromkeys(each.whitening for each in candidates):
            own = [each for each in candidates if each.whitening == power]
            for candidate, features in self._features(power, own):
                losses[candidate], weights, units = fit_in_memory(
                    self.problem.held_out_losses, features, self.engine
                )
        missing = np.full(len(weights), np.nan)
        table = [missing if row is None else row for row in losses.values()]
        return np.array(table), weights, units

    def _features(self, power, candidates):
        """Yield the candidates of one whitening with their features, in a list."""
        images, whitening = self.images, None
        try:
            if power is not None:
                whitening = self._spectrum.whitening(power)
            check_range(images, norm_growth(self.settings, images.shape, whitening))
        except ValueError:
            # They leave the range of the dtype.
            return
        if whitening is not None and _is_small(images):
            # Whitened once for all layers and mirror images.
            encoder = self._encoder(Network((), images.shape, whitening=whitening))
            array = encoder.maps(images.array)
            images, whitening = Images(array, largest_magnitude(array)), None
        with warnings.catch_warnings():
            # The fit itself warns of too few distinct patches.
            warnings.simplefilter("ignore", UserWarning)
            network, _ = learn_network(
                images,
                self.settings,
                self.options,
                np.random.RandomState(self.seed),
                self.engine,
                Task(),
                whitening,
            )
        features = self._encoder(network).resident_features(images.array)
        averaged = None
        for candidate in candidates:
            if not candidate.flip_average:
                yield candidate, [features]
                continue
            if averaged is None:
                averaged = self._averaged(network, images, features)
            yield candidate, [averaged]

    def _averaged(self, network, images, features):
        """Return the features averaged with those of the mirror images."""
        if network.whitening is not None:
            # The mirror image is that of the whitened image.
            network = replace(network, flip_average=True)
            return self._encoder(network).resident_features(images.array)
        encoder = self._encoder(network)
        mirrored = encoder.resident_features(images.array[:, :, ::-1])
        # Halved before they are added, so that the sum cannot overflow.
        return 0.5 * features + 0.5 * mirrored

    def _encoder(self, network):
        return self.engine.bind(network, self.images.dtype)


def _is_small(images):
    """Return whether a copy of images takes little memory."""
    n_bytes = images.array.size * images.dtype.itemsize
    return n_bytes <= working_memory_bytes() / 4
