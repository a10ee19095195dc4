"""CIFAR-10 by networks of Mairal (NIPS 2016) trained on labels: accuracy, curve, time.

45,000 images train and the last 5,000 rows validate; these choose neither the epoch nor
anything else. ``--data DIR`` reads CIFAR-10 as ``_cifar.py`` says. The line "end" is
the result: accuracy after the last epoch, of the images and averaged over mirror
images. With ``--memory FOLDER``, a run that was killed goes on after its last epoch;
its minutes are then those since. Run with ``python benchmarks/headline.py --data DIR``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _cifar import load_cifar

from sklearn_ckn import SupervisedCKNClassifier


class Curve:
    """A callback of the training that validates some epochs and prints a line for each.

    Parameters
    ----------
    X, y : ndarray
        Validation images and labels.
    every : int
        Number of epochs between two validations.
    """

    max_propagation_depth = None

    def __init__(self, X, y, every):
        self._X, self._y = X, y
        self._every = every

    def setup(self, estimator, context):
        """Begin to measure the time."""
        self._start = time.perf_counter()

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        """Validate an epoch."""
        if context.task_name == "epoch" and fitted_estimator.n_iter_ % self._every == 0:
            self.report(fitted_estimator.n_iter_, fitted_estimator)

    def teardown(self, estimator, context):
        """Do nothing."""

    def report(self, name, estimator):
        """Print accuracies in percent and minutes."""
        decisions = estimator.decision_function(self._X)
        mirrored = estimator.decision_function(self._X[:, :, ::-1])
        accuracies = [
            100 * np.mean(each.argmax(axis=1) == self._y)
            for each in (decisions, decisions + mirrored)
        ]
        minutes = (time.perf_counter() - self._start) / 60
        print(
            f"{name:>6} | {accuracies[0]:8.2f} | {accuracies[1]:8.2f} | {minutes:7.1f}",
            flush=True,
        )


def main():
    """Train and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset", default="mairal2016-5")
    parser.add_argument("--n-train", type=int, default=45_000)
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--augment", default="flip", help="or flip+shift, none")
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--learn-beta", type=int, default=1)
    parser.add_argument("--schedule", default="cosine")
    parser.add_argument("--head", default="linear_svm")
    parser.add_argument("--alpha", type=float, default=1e-6)
    parser.add_argument("--whitening", type=float, default=0.25)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--memory", help="folder; a run that was killed goes on")
    arguments = parser.parse_args()
    X, y, X_validation, y_validation = load_cifar(arguments.data, arguments.n_train)
    model = SupervisedCKNClassifier.from_preset(
        arguments.preset,
        whitening=arguments.whitening,
        flip_average=False,
        normalize=0.0,
        head=arguments.head,
        alpha=arguments.alpha,
        n_epochs=arguments.epochs,
        augment=None if arguments.augment == "none" else arguments.augment,
        learning_rate=arguments.learning_rate,
        learn_beta=bool(arguments.learn_beta),
        schedule=arguments.schedule,
        batch_size=arguments.batch_size,
        early_stopping=False,
        memory=arguments.memory,
        device=arguments.device,
        random_state=arguments.seed,
    )
    curve = Curve(X_validation, y_validation, arguments.every)
    model.set_callbacks(curve)
    print(f"{len(X)} images, {model}\n epoch | accuracy | mirrored | minutes")
    model.fit(X, y)
    curve.report("end", model)
    history = zip(
        *(model.history_[name] for name in ("objective", "batch_loss", "seconds")),
        strict=True,
    )
    print("objective, batch loss and seconds of the epochs:")
    for epoch, values in enumerate(history):
        print(f"{epoch:>6} | " + " | ".join(f"{value:8.4f}" for value in values))


if __name__ == "__main__":
    main()
