"""Whole runs on the GPU: trained networks, and wide ones without supervision."""

import time

import numpy as np
from _cifar import N_VALIDATION, load_cifar, made_up_cifar

from sklearn_ckn import CKNClassifier, PatchWhitening, SupervisedCKNClassifier

N_TRAIN = 45_000

#: Presets, and what is published for the original pixels: the best of the epochs on the
#: test images.
PUBLISHED = {
    "mairal2016-5": "86.1 %, 60 minutes",
    "mairal2016-14": "90.2 %, 260 minutes",
}

#: Values of ``augment``, by their names on the command line.
AUGMENTS = {"none": None, "flip+shift": "flip+shift"}

#: Patches that the anchors of wide networks are drawn from.
N_PATCHES = 200_000


#: The images are whitened before, as those of the published results.
PLAIN = {"whitening": None, "flip_average": False, "normalize": 0.0}


def load(machine, options):
    """Return images and labels to train and to validate on, of CIFAR-10 if it is given.

    Returns
    -------
    X, y, X_validation, y_validation : ndarray
    """
    if options.data is not None:
        data = load_cifar(options.data, N_TRAIN)
        if machine.is_trial:
            n = 60
            data = tuple(part[:n] for part in data)
        return data
    print("   no --data: made-up images, whose accuracies say nothing")
    if machine.is_trial:
        return made_up_cifar(150, 30)
    return made_up_cifar(N_TRAIN, N_VALIDATION)


def whiten(X, *others):
    """Return images whitened as the first ones ask for, and tell how long it took."""
    start = time.perf_counter()
    whitening = PatchWhitening().fit(X)
    whitened = [whitening.transform(each) for each in (X, *others)]
    print(f"   whitened by the CPU in {time.perf_counter() - start:.0f} s", flush=True)
    return whitened


def train_once(machine, options, preset, augment, data):
    """Train a preset; return the validation accuracy of every epoch and minutes.

    The images that the estimator holds out validate, and choose neither the length of
    the training nor, of the accuracies returned, the last.
    """
    X, y = data
    parameters = {"device": machine.device, "random_state": 0}
    if options.epochs is not None:
        parameters["n_epochs"] = options.epochs
    elif machine.is_trial:
        parameters["n_epochs"] = 1
    if machine.is_trial:
        n_layers = len(SupervisedCKNClassifier.from_preset(preset).n_anchors)
        parameters |= {"n_anchors": (4,) * n_layers, "n_patches": 500}
    model = SupervisedCKNClassifier.from_preset(preset, augment=augment, **parameters)
    model.set_params(**PLAIN)
    start = time.perf_counter()
    model.fit(X, y)
    minutes = (time.perf_counter() - start) / 60
    return np.array(model.history_["validation_score"]), minutes


def train_table(machine, options):
    """Print the accuracy of whole trainings at their last epoch."""
    print(
        "Training on whitened CIFAR-10: a tenth of the images of each class validates, "
        "which the whitening has seen"
    )
    X, y, X_validation, y_validation = load(machine, options)
    (X,) = whiten(np.concatenate([X, X_validation]))
    data = X, np.concatenate([y, y_validation])
    print(
        "network       | augment    | epochs | last epoch, % | best, % | minutes | "
        "published"
    )
    for preset in options.presets:
        for augment in map(AUGMENTS.get, options.augments):
            machine.clear()
            scores, minutes = train_once(machine, options, preset, augment, data)
            print(
                f"{preset:13} | {augment!s:10} | {len(scores) - 1:6} | "
                f"{100 * scores[-1]:13.2f} | {100 * scores.max():7.2f} | "
                f"{minutes:7.1f} | {PUBLISHED[preset]}",
                flush=True,
            )
    print(
        "   minutes: the whole fit, with the start and the heads of all epochs\n"
        "   published: original pixels, the best epoch on the test images"
    )


def wide_run(machine, options, n_anchors, head, data):
    """Return the validation accuracy of a wide network with a head, and minutes."""
    X, y, X_validation, y_validation = data
    model = CKNClassifier(
        n_anchors,
        patch_size=(3, 2),
        subsampling=(2, 6),
        n_patches=1000 if machine.is_trial else N_PATCHES,
        whitening=None,
        normalize=0.0,
        flip_average=options.flip_average,
        head=head,
        device=machine.device,
        random_state=0,
    )
    start = time.perf_counter()
    model.fit(X, y)
    minutes = (time.perf_counter() - start) / 60
    return model.score(X_validation, y_validation), minutes


def wide_table(machine, options):
    """Print the accuracy of ever wider unsupervised networks, while they fit."""
    X, y, X_validation, y_validation = load(machine, options)
    X, X_validation = whiten(X, X_validation)
    print(
        f"Wide networks without supervision, whitened CIFAR-10, {len(X)} images; "
        f"features averaged over mirror images: {options.flip_average}"
    )
    data = X, y, X_validation, y_validation
    print("anchors       | head       | validation, % | minutes")
    for width in (16, 32) if machine.is_trial else sorted(options.widths):
        n_anchors = (4 if machine.is_trial else 512, width)
        fits = False
        for head in ("ridge", "linear_svm"):
            machine.clear()
            try:
                accuracy, minutes = wide_run(machine, options, n_anchors, head, data)
            except MemoryError as error:
                print(f"{n_anchors!s:13} | {head:10} | does not fit: {error}")
                continue
            fits = True
            print(
                f"{n_anchors!s:13} | {head:10} | {100 * accuracy:13.2f} | "
                f"{minutes:7.1f}",
                flush=True,
            )
        if not fits:
            break
    print(
        "   minutes: patches, anchors, features and head\n"
        "   published: 84.0 % with original pixels and 512 and 8,192 anchors; 85.8 % "
        "with the most (unchecked)"
    )
