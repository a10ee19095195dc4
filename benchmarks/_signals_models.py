"""The models that ``signals.py`` compares, each with its defaults.

All take signals (n, channels, length). The packages are imported where a model is made,
since one interpreter need not have them all.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

OURS = "CKN"
#: Products of numbers of signals, channels and squared lengths up to which all pairs of
#: training and test signals are warped: about seven minutes of one core.
MOST_WARPED = 1e11


@dataclass(frozen=True)
class Model:
    """A model, and what it takes to run it.

    Attributes
    ----------
    package : str
        That must be installed.
    make : callable
        Maps a seed to an estimator that is not fitted.
    has_seed : bool
        Whether different seeds give different models.
    is_affordable : callable
        Of the shapes of training and test signals.
    """

    package: str
    make: Callable
    has_seed: bool = True
    is_affordable: Callable = lambda train, test: True


def _ckn(seed):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from sklearn_ckn import CKNClassifier, signals_to_images

    return make_pipeline(
        FunctionTransformer(signals_to_images),
        CKNClassifier.for_signals(random_state=seed),
    )


def _mini_rocket(seed):
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed, n_jobs=1)


def _multi_rocket_hydra(seed):
    from aeon.classification.convolution_based import MultiRocketHydraClassifier

    return MultiRocketHydraClassifier(random_state=seed, n_jobs=1)


def _warped_neighbour(seed):
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    return KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw", n_jobs=1)


def _warps_few(train, test):
    n_train, n_channels, length = train
    return n_train * test[0] * n_channels * length**2 <= MOST_WARPED


MODELS = {
    OURS: Model("sklearn_ckn", _ckn),
    "MiniRocket": Model("aeon", _mini_rocket),
    "MultiRocket-Hydra": Model("aeon", _multi_rocket_hydra),
    "1-NN DTW": Model(
        "aeon", _warped_neighbour, has_seed=False, is_affordable=_warps_few
    ),
}


@cache
def warm_up(name, n_channels):
    """Fit a model to a few signals, so that its code is compiled and loaded."""
    signals = np.random.RandomState(0).normal(size=(20, n_channels, 64))
    labels = np.arange(20) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MODELS[name].make(0).fit(signals, labels).predict(signals)
