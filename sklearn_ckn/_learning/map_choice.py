"""Choice of whitening, mirror images and normalization by held-out images."""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ckn._common.lazy_array import largest_magnitude
from sklearn_ckn._common.memory_limits import fit_in_memory, working_memory_bytes
from sklearn_ckn._common.norms import powers_of_two
from sklearn_ckn._common.progress import Task
from sklearn_ckn._engine.encoder import normalized
from sklearn_ckn._input.images import Images
from sklearn_ckn._learning.cache import ResilientMemory
from sklearn_ckn._learning.layers import LearningOptions, learn_network
from sklearn_ckn._network.network import Network, check_range, norm_growth
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.whitening import PATCH_SIZE, PatchSpectrum

#: Powers of whitening that are tried, after no whitening.
POWERS = (0.0, 0.25)

#: Power of the normalization in the first comparison: contrast counts, but less than
#: in proportion, which was more accurate on average over sets of images. Then those
#: that are tried with the map chosen by it.
NORMALIZE = 0.5
OTHER_NORMALIZE = (0.0, 1.0)

#: With fewer images the plainest candidate is taken: differences between candidates
#: would be within their standard errors anyway.
MIN_IMAGES = 50

#: Candidates are compared by all images up to the first number, and by this share of
#: more images, up to the second number: more images make smaller differences count, and
#: the fit that follows takes longer.
FEW_IMAGES, MANY_IMAGES = 1500, 4000
SHARE = 0.6

#: Largest number of anchors of the candidates' layers.
MAX_ANCHORS = 80

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
    normalize : float
        Power of the normalization of features.
    """

    whitening: float | None
    flip_average: bool
    normalize: float


@dataclass(frozen=True)
class MapChoice:
    """The candidate that was chosen, and how all of them compare.

    Attributes
    ----------
    chosen : MapCandidate
    results : dict of ndarray, or None
        ``"whitening"``, ``"flip_average"``, ``"normalize"``, ``"loss"``, ``"excess"``
        and ``"excess_error"``, one value for each candidate, from the plainest; None
        if nothing was compared. The excess is the loss minus the lowest loss, and its
        error the standard error of this difference over the same images.
    """

    chosen: MapCandidate
    results: dict | None


@dataclass(frozen=True)
class MapQuestion:
    """What is to be chosen: parameters that are ``"auto"``.

    Attributes
    ----------
    whitening : float, "auto" or None
    flip_average : bool or "auto"
    normalize : float or "auto"
    """

    whitening: object
    flip_average: object
    normalize: object

    def candidates(self, image_shape):
        """Return the candidates of one ``normalize``, from the plainest.

        Parameters
        ----------
        image_shape : tuple of int
            (H, W, C). Signals, which have one row or one column, are not mirrored.

        Returns
        -------
        candidates : list of MapCandidate
        """
        is_signal = 1 in image_shape[:2]
        flips = [self.flip_average]
        if isinstance(self.flip_average, str):
            flips = [False] if is_signal else [False, True]
        powers = [self.whitening]
        if isinstance(self.whitening, str):
            powers = [None, *POWERS]
        normalize = NORMALIZE if isinstance(self.normalize, str) else self.normalize
        return [
            MapCandidate(power, flip, normalize)
            for flip, power in product(flips, powers)
        ]

    @property
    def plainest(self):
        """The candidate that is taken where nothing is compared."""
        plainest = MapCandidate(None, False, 0.0)
        given = {
            name: value
            for name, value in vars(self).items()
            if not isinstance(value, str)
        }
        return replace(plainest, **given)

    @property
    def is_open(self):
        """Whether there is anything to choose."""
        return any(isinstance(value, str) for value in vars(self).values())


def choose_map(images, problem, question, parameters, options, engine, random_state):
    """Choose the plainest candidate that is as good as the best one.

    Each candidate is a network of at most half the anchors, learned from some of the
    images, whose features get a ridge head. The loss of each image by the head that is
    fitted without it tells how good the candidate is: 0 or 1 for a wrong class, or the
    squared error. A candidate is as good as the best one if its mean loss is at most
    one standard error higher. The standard error is that of the difference over the
    same images, where images that are held out together count as one. Other powers of
    the normalization are tried last, with the map that would be chosen before.

    Parameters
    ----------
    images : Images
    problem : ClassifierProblem or RegressionProblem
        Of these images.
    question : MapQuestion
        An open one.
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
    candidates = question.candidates(images.shape)
    if len(images) < MIN_IMAGES:
        return MapChoice(candidates[0], None)
    random_state = check_random_state(random_state)
    n_sampled = min(max(int(SHARE * len(images)), FEW_IMAGES), MANY_IMAGES)
    rows = problem.sample_rows(n_sampled, random_state)
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
    choose = options.memory.cache(choose_by, ignore=["comparison"])
    key = options.memory.key(sample, engine, comparison.key)
    return choose(key, question, comparison)


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
        "normalize": np.array([each.normalize for each in candidates]),
        "loss": means,
        "excess": excess,
        "excess_error": errors,
    }
    return MapChoice(candidates[as_good[0]], results)


def choose_by(key, question, comparison):
    """Return the MapChoice of a question; the memory stores it by ``key``."""
    candidates = question.candidates(comparison.images.shape)
    losses = comparison.measure(candidates)
    choice = compare(candidates, losses, comparison.weights, comparison.units)
    if choice.results is None or not isinstance(question.normalize, str):
        return choice
    others = [replace(choice.chosen, normalize=power) for power in OTHER_NORMALIZE]
    losses = np.vstack([losses, comparison.measure(others)])
    candidates = [*candidates, *others]
    return compare(candidates, losses, comparison.weights, comparison.units)


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

    def __post_init__(self):
        # Of the distinct samples, known from the first candidate on.
        self.weights, self.units = np.ones(1), np.zeros(1, np.intp)
        self._networks, self._features = {}, {}

    @property
    def key(self):
        """What the losses depend on, besides the images and the candidates."""
        return self.settings, self.options.n_patches, self.seed, self.problem.key

    @cached_property
    def _spectrum(self):
        return PatchSpectrum.of_images(self.images.array, PATCH_SIZE, self.engine)

    def measure(self, candidates):
        """Return losses (n_candidates, n), NaN for those that cannot be computed."""
        losses = [self._losses_of(candidate) for candidate in candidates]
        missing = np.full(len(self.weights), np.nan)
        return np.array([missing if row is None else row for row in losses])

    def _losses_of(self, candidate):
        """Return the losses (n,) of a candidate, or None."""
        features = self._features_of(candidate.whitening, candidate.flip_average)
        if features is None:
            return None
        if candidate.normalize > 0:
            features = self._normalized(features, candidate.normalize)
        losses, self.weights, self.units = fit_in_memory(
            self.problem.held_out_losses, [features], self.engine
        )
        return losses

    def _normalized(self, features, power):
        # Features may be tiny: one power of two for all keeps their ratios.
        largest = abs(features).max()
        scale, _ = powers_of_two(largest[np.newaxis])
        return normalized(features * scale, power)[0]

    def _features_of(self, power, flip_average):
        """Return features that are not normalized, or None if they may overflow."""
        if (power, flip_average) not in self._features:
            features = None
            if self._is_in_range(power):
                features = self._compute_features(power, flip_average)
            self._features[power, flip_average] = features
        return self._features[power, flip_average]

    def _is_in_range(self, power):
        try:
            growth = norm_growth(
                self.settings, self.images.shape, self._whitening(power)
            )
            check_range(self.images, growth)
        except ValueError:
            return False
        return True

    def _whitening(self, power):
        return None if power is None else self._spectrum.whitening(power)

    def _compute_features(self, power, flip_average):
        network, images = self._learned(power)
        if not flip_average:
            return self._encode(network, images.array)
        if network.whitening is not None:
            # The mirror image is that of the whitened image.
            return self._encode(replace(network, flip_average=True), images.array)
        mirrored = self._encode(network, images.array[:, :, ::-1])
        # Halved before they are added, so that the sum cannot overflow.
        return 0.5 * self._features_of(power, False) + 0.5 * mirrored

    def _encode(self, network, array):
        encoder = self.engine.bind(network, self.images.dtype)
        return encoder.resident_features(array)

    def _learned(self, power):
        """Return the network of a whitening, and the images that it maps."""
        if power not in self._networks:
            self._networks[power] = self._learn(power)
        return self._networks[power]

    def _learn(self, power):
        images, whitening = self.images, self._whitening(power)
        if whitening is not None and _is_small(images):
            # Whitened once for all layers and mirror images.
            network = Network((), images.shape, whitening=whitening)
            array = self.engine.bind(network, images.dtype).maps(images.array)
            images, whitening = Images(array, largest_magnitude(array)), None
        with warnings.catch_warnings():
            # The fit itself warns of too few distinct patches.
            warnings.simplefilter("ignore", UserWarning)
            network, _ = learn_network(
                images,
                Network((), images.shape, whitening=whitening),
                self.settings,
                self.options,
                np.random.RandomState(self.seed),
                self.engine,
                Task(),
            )
        return network, images


def _is_small(images):
    """Return whether copies of images with a few whitenings take little memory."""
    n_bytes = images.array.size * images.dtype.itemsize
    return n_bytes <= working_memory_bytes() / 16
