"""The models that ``outside.py`` compares; all take and predict uint8 images.

Each peer is chosen by its accuracy in folds of the training images.
"""

from functools import partial

import numpy as np
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNClassifier, SupervisedCKNClassifier

N_FOLDS = 3
#: A search sees no more images than these; what it chose is then fitted to all.
MAX_SEARCHED = 2000

OURS = "CKN"
SUPERVISED = "CKN, supervised"
BEST_FIXED = "CKN, best fixed"

FIXED_SETTINGS = {
    f"CKN, {'no whitening' if power is None else f'power {power:g}'}"
    f"{', mirrored' * flip_average}, normalized by {normalize:g}": {
        "whitening": power,
        "flip_average": flip_average,
        "normalize": normalize,
    }
    for power in (None, 0.0, 0.25)
    for flip_average in (False, True)
    for normalize in (0.0, 0.5, 1.0)
}

#: Attributes that tell what a fitted model chose.
CHOSEN = (
    *("chosen_", "whitening_", "flip_average_", "normalize_", "alpha_"),
    "best_epoch_",
)


class ChosenInFolds(ClassifierMixin, BaseEstimator):
    """Fixed features of images and a classifier, chosen together in folds.

    Parameters
    ----------
    features : dict of callable
        Candidates: each maps images to an array (n_images, n_features), or returns None
        for images that are too small for it.
    candidates : callable
        Maps features of the training images to pairs of a classifier and the grid of
        its parameters.
    n_threads : int

    Attributes
    ----------
    chosen_ : str
        Features and parameters.
    compute_ : callable
        The features that were chosen.
    model_ : estimator
        The classifier, fitted to all images.
    """

    def __init__(self, features, candidates, n_threads):
        self.features = features
        self.candidates = candidates
        self.n_threads = n_threads

    def fit(self, X, y):
        """Choose in folds of some of the images, and fit to all."""
        rows = np.arange(len(y))
        if len(y) > MAX_SEARCHED:
            rows, _ = train_test_split(
                rows, train_size=MAX_SEARCHED, stratify=y, random_state=0
            )
        best_score = -np.inf
        for name, compute in self.features.items():
            features = compute(X)
            if features is None:
                continue
            for classifier, grid in self.candidates(features[rows]):
                search = self._search(classifier, grid, features[rows], y[rows])
                if search.best_score_ > best_score:
                    best_score = search.best_score_
                    best = compute, features, classifier, search.best_params_
                    named = ", ".join(
                        f"{key} {value}"
                        if isinstance(value, str)
                        else f"{key} {value:.3g}"
                        for key, value in search.best_params_.items()
                    )
                    self.chosen_ = f"{name}; {named}"
        self.compute_, features, classifier, parameters = best
        self.model_ = clone(classifier).set_params(**parameters)
        with one_blas_thread():
            self.model_.fit(features, y)
        return self

    def _search(self, classifier, grid, features, y):
        search = GridSearchCV(
            classifier,
            grid,
            cv=StratifiedKFold(N_FOLDS, shuffle=True, random_state=0),
            n_jobs=self.n_threads,
            refit=False,
        )
        # The machines release the lock of Python, and a process of its own for each
        # fold would read the features anew.
        with parallel_config(backend="threading"), one_blas_thread():
            return search.fit(features, y)

    def predict(self, X):
        """Return the classes of images."""
        features = self.compute_(X)
        with one_blas_thread():
            return self.model_.predict(features)


def one_blas_thread():
    """Return a context in which BLAS has one thread.

    It would share every dot product of support vector machines among threads where
    there are over 10,000 features, which takes many times longer.
    """
    return threadpool_limits(1, "blas")


def pixels(X):
    """Return the pixels of images, from 0 to 1."""
    return X.reshape(len(X), -1).astype(np.float32) / 255


def oriented_gradients(cell, X):
    """Return histograms of oriented gradients in cells of some side, in 2 x 2 blocks.

    Of colours, each pixel counts the channel of the steepest gradient.
    """
    from skimage.feature import hog

    if min(X.shape[1:3]) < 2 * cell:
        return None
    histograms = partial(
        hog,
        orientations=9,
        pixels_per_cell=(cell, cell),
        cells_per_block=(2, 2),
        channel_axis=-1 if X.ndim == 4 else None,
    )
    return np.array([histograms(image) for image in X], dtype=np.float32)


def scattering(X):
    """Return scattering coefficients of order 0 to 2, at scale 2^2, 8 orientations.

    Images are mirrored at their ends to sides that are multiples of 4. Channels are
    scattered one by one.
    """
    # What ``kymatio.numpy`` offers as Scattering2D: that module also imports what SciPy
    # 1.17 no longer has.
    from kymatio.scattering2d.frontend.numpy_frontend import ScatteringNumPy2D

    channels = X if X.ndim == 4 else X[..., np.newaxis]
    ends = [(0, -side % 4) for side in channels.shape[1:3]]
    channels = np.pad(channels, [(0, 0), *ends, (0, 0)], mode="reflect")
    channels = np.moveaxis(channels, -1, 1).astype(np.float32) / 255
    transform = ScatteringNumPy2D(J=2, shape=channels.shape[2:], L=8)
    # In batches, since each takes several times the memory of its output.
    batches = [transform(channels[i : i + 64]) for i in range(0, len(channels), 64)]
    return np.concatenate(batches).reshape(len(X), -1)


def radial_machine(features):
    """Return the support vector machine with a Gaussian kernel, and its grid."""
    scale = 1 / (features.shape[1] * features.var(dtype=np.float64))
    gammas = [scale / 4, scale, 4 * scale]
    return SVC(), {"C": [1.0, 10.0, 100.0, 1000.0], "gamma": gammas}


def radial_or_linear_machine(features):
    """Return candidates with a Gaussian and with a linear kernel."""
    linear = SVC(), {"kernel": ["linear"], "C": [0.01, 0.1, 1.0, 10.0]}
    return [radial_machine(features), linear]


def standardized_linear(features):
    """Return candidates of ridge and of a support vector machine, both linear."""
    # Squared norms of standardized features are about their number.
    n_features = features.shape[1]
    ridge = make_pipeline(StandardScaler(), RidgeClassifier())
    machine = make_pipeline(StandardScaler(), SVC(kernel="linear"))
    alphas = [n_features * factor for factor in (0.01, 0.1, 1.0, 10.0, 100.0)]
    penalties = [factor / n_features for factor in (0.1, 1.0, 10.0)]
    return [
        (ridge, {"ridgeclassifier__alpha": alphas}),
        (machine, {"svc__C": penalties}),
    ]


def _small_network(seed, n_threads):
    # PyTorch is needed for this model only.
    from _outside_cnn import ConvolutionalClassifier

    return ConvolutionalClassifier(random_state=seed, n_threads=n_threads)


def _in_folds(features, candidates):
    return lambda seed, n_threads: ChosenInFolds(features, candidates, n_threads)


#: Makers of models, of a seed and a number of threads.
MODELS = {
    OURS: lambda seed, n_threads: CKNClassifier(random_state=seed),
    SUPERVISED: lambda seed, n_threads: SupervisedCKNClassifier(random_state=seed),
    **{
        name: lambda seed, n_threads, settings=settings: CKNClassifier(
            **settings, random_state=seed
        )
        for name, settings in FIXED_SETTINGS.items()
    },
    "RBF SVC": _in_folds(
        {"pixels": pixels}, lambda features: [radial_machine(features)]
    ),
    "HOG + SVC": _in_folds(
        {f"cells of {cell}": partial(oriented_gradients, cell) for cell in (4, 8)},
        radial_or_linear_machine,
    ),
    "scattering + linear": _in_folds({"scattering": scattering}, standardized_linear),
    "CNN": _small_network,
}

#: Peers that no seed changes: the draw of folds is always the same.
WITHOUT_SEED = ("RBF SVC", "HOG + SVC", "scattering + linear")
PEERS = (*WITHOUT_SEED, "CNN")
