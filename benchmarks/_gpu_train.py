"""Training and wide networks on the GPU: steps against PyTorch, and whole runs."""

import time
from pathlib import Path

import numpy as np
import torch
from _timing import alternate
from training_step import our_step, torch_step

from sklearn_ckn import (
    CKNFeatures,
    LinearPathClassifier,
    PatchWhitening,
    SupervisedCKNClassifier,
)

N_TRAIN, N_VALIDATION = 45_000, 5000
PRESETS = {"5 layers": "mairal2016-5", "14 layers": "mairal2016-14"}

#: What is published for the original pixels: the best test epoch, and minutes.
PUBLISHED = {"5 layers": "86.1 %, 60 minutes", "14 layers": "90.2 %, 260 minutes"}


def load(machine, options):
    """Return images and labels to train and to validate on."""
    n_train, n_validation = (150, 30) if machine.is_trial else (N_TRAIN, N_VALIDATION)
    if options.data is None:
        print("   no --data: made-up images, whose accuracies say nothing")
        rng = np.random.RandomState(0)
        n = n_train + n_validation
        X = rng.randint(256, size=(n, 32, 32, 3)).astype(np.uint8)
        y = rng.randint(10, size=n)
    else:
        with np.load(Path(options.data) / "cifar10_train.npz") as archive:
            X, y = archive["X"], archive["y"]
    return X[:n_train], y[:n_train], X[-n_validation:], y[-n_validation:]


def step_table(machine, options):
    """Print the times of training steps, and of the epochs that they make."""
    print("\nTraining steps")
    print(
        "network   | step     | best batch | ms/image | over ours | s/epoch of 45,000"
    )
    sizes = (4, 8) if machine.is_trial else (128, 256, 512)
    names = ("a",) if machine.is_trial else ("a", *PRESETS)
    kinds = {"ours": None, "eager": False, "compiled": True}
    if options.no_compile:
        del kinds["compiled"]
    for name in names:
        best = {}
        for size in sizes:
            torch.compiler.reset()
            machine.clear()
            steps = {
                kind: our_step(name, size, machine.engine)
                if compiled is None
                else torch_step(name, size, compiled, machine.torch_device)
                for kind, compiled in kinds.items()
            }
            steps = {kind: machine.synchronized(step) for kind, step in steps.items()}
            with machine.tf32(False):
                alternate(steps, 3)
                seconds = alternate(steps, options.repeats)
            for kind, value in seconds.items():
                best[kind] = min(best.get(kind, (np.inf, 0)), (value / size, size))
        for kind, (value, size) in best.items():
            print(
                f"{name:9} | {kind:8} | {size:10} | {1000 * value:8.4f} | "
                f"{value / best['ours'][0]:9.2f} | {N_TRAIN * value:8.1f}",
                flush=True,
            )


def train_table(machine, options):
    """Print the accuracy of whole trainings at their last epoch.

    A tenth of the images of each class validates; the whitening sees all of them.
    """
    print("\nTraining on CIFAR-10, 45,000 images and 5,000 to validate")
    print("network   | augment    | epochs | last, best valid. % | minutes | published")
    X, y, X_validation, y_validation = load(machine, options)
    X, y = np.concatenate([X, X_validation]), np.concatenate([y, y_validation])
    X = PatchWhitening().fit(X).transform(X)
    networks = PRESETS
    parameters = {"device": machine.device, "random_state": 0}
    if options.epochs is not None:
        parameters["n_epochs"] = options.epochs
    if machine.is_trial:
        networks = {"5 layers": PRESETS["5 layers"]}
        parameters |= {"n_epochs": 1, "n_anchors": (4,) * 5, "n_patches": 500}
    for name, preset in networks.items():
        for augment in (None, "flip+shift"):
            model = SupervisedCKNClassifier.from_preset(
                preset, augment=augment, **parameters
            )
            # No epoch is left out.
            model.set_params(n_iter_no_change=max(1, model.n_epochs))
            start = time.perf_counter()
            model.fit(X, y)
            minutes = (time.perf_counter() - start) / 60
            scores = 100 * np.array(model.history_["validation_score"])
            print(
                f"{name:9} | {augment!s:10} | {model.n_epochs:6} | {scores[-1]:11.2f}, "
                f"{scores.max():.2f} | {minutes:7.1f} | {PUBLISHED[name]}",
                flush=True,
            )
        machine.clear()


def wide_table(machine, options):
    """Print the accuracy of the widest unsupervised network that fits."""
    print("\nWide networks without supervision, whitened CIFAR-10")
    print("anchors      | head       | validation % | minutes (features, head)")
    X, y, X_validation, y_validation = load(machine, options)
    whitening = PatchWhitening().fit(X)
    X, X_validation = map(whitening.transform, (X, X_validation))
    widths = [(4, 16)] if machine.is_trial else [(512, 8192), (1024, 16_384)]
    for n_anchors in widths:
        network = CKNFeatures(
            n_anchors,
            patch_size=(3, 2),
            subsampling=(2, 6),
            n_patches=1000 if machine.is_trial else 200_000,
            device=machine.device,
            random_state=0,
        )
        start = time.perf_counter()
        try:
            features = machine.xp.asarray(network.fit(X).transform(X))
        except MemoryError as error:
            print(f"{n_anchors!s:12} | does not fit: {error}")
            return
        seconds = time.perf_counter() - start
        validation = machine.xp.asarray(network.transform(X_validation))
        for head in ("ridge", "linear_svm"):
            start = time.perf_counter()
            try:
                model = LinearPathClassifier(head).fit(features, y)
            except MemoryError as error:
                print(f"{n_anchors!s:12} | {head:10} | does not fit: {error}")
                continue
            accuracy = 100 * model.score(validation, y_validation)
            print(
                f"{n_anchors!s:12} | {head:10} | {accuracy:12.2f} | "
                f"{seconds / 60:.1f}, {(time.perf_counter() - start) / 60:.1f}",
                flush=True,
            )
        del features, validation
        machine.clear()
    print("   published, original pixels: 84.0 % with 512 and 8,192 anchors")
