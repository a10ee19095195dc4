"""The models of ``time_to_accuracy.py``, each of which is a point of time and accuracy.

Peers are those of ``outside.py``; what they choose is chosen in folds of the training
images, and the time to choose is part of the time to fit.
"""

from functools import partial

from _outside_models import MODELS

from sklearn_ckn import CKNClassifier, SupervisedCKNClassifier

OURS, SUPERVISED = "CKN", "CKN, supervised"

#: Anchors of two layers; the third pair is the default.
SIZES = ((16, 64), (32, 128), (64, 256), (128, 512), (256, 1024))

#: Numbers of epochs, each of which is a training with a schedule of its own.
SUPERVISED_EPOCHS = (3, 10, 30)
NETWORK_EPOCHS = (1, 3, 10, 30)


def _network(seed, n_threads, n_epochs):
    # PyTorch is needed for these models only.
    from _outside_cnn import ConvolutionalClassifier

    return ConvolutionalClassifier(seed, n_threads, n_epochs)


def _ours(seed, n_threads, n_anchors):
    return CKNClassifier(n_anchors, random_state=seed)


def _supervised(seed, n_threads, n_epochs):
    return SupervisedCKNClassifier(n_epochs=n_epochs, random_state=seed)


def _epochs(n_epochs):
    return f"{n_epochs} epoch{'s' * (n_epochs > 1)}"


#: Makers of models, of a seed and a number of threads, by family and by name.
FAMILIES = {
    OURS: {
        f"CKN {n_anchors}": partial(_ours, n_anchors=n_anchors) for n_anchors in SIZES
    },
    SUPERVISED: {
        f"CKN, supervised, {_epochs(n_epochs)}": partial(_supervised, n_epochs=n_epochs)
        for n_epochs in SUPERVISED_EPOCHS
    },
    **{
        name: {name: MODELS[name]}
        for name in ("RBF SVC", "HOG + SVC", "scattering + linear")
    },
    "CNN": {
        f"CNN, {_epochs(n_epochs)}": partial(_network, n_epochs=n_epochs)
        for n_epochs in NETWORK_EPOCHS
    },
}

POINTS = {name: make for family in FAMILIES.values() for name, make in family.items()}
FAMILY_OF = {name: family for family, points in FAMILIES.items() for name in points}


def is_ours(name):
    """Return whether a point is one of this package."""
    return FAMILY_OF[name] in (OURS, SUPERVISED)
