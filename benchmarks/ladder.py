"""What each step from the defaults gains and costs: accuracy, time and memory.

``--sets`` names image sets: ``cifar`` and ``mnist`` are read from ``--data DIR`` as
``cifar.py`` and ``mnist.py`` read them, every other name is a file ``NAME.npz`` there,
as for ``outside.py``. At most ``--max-train`` of the training images are used: of
CIFAR-10 the first ones, of the others as many drawn at random. Accuracies are those on
test images, of CIFAR-10 on the last 5,000 training images. The rows:

- plain: no whitening, no mirror images, no normalization
- default: ``CKNClassifier`` with its defaults, which chooses these three
- the rows after it take what the default has chosen and choose only alpha: the same
  network; networks with more anchors; three networks whose probabilities are averaged,
  with other seeds and, if the images are whitened, with the powers 0, 0.25 and 0.5;
  ``SupervisedCKNClassifier`` with 10 epochs, which starts from the default network

Each fit has a process of its own, and of ``--repeats`` fits the fastest one counts. The
default is always run, because the rows after it need its choice; ``--rows`` leaves
others out. Run with ``python benchmarks/ladder.py --data DIR``.
"""

import argparse
from functools import partial
from math import sqrt
from pathlib import Path

import outside
from _cifar import load_cifar
from _timing import in_process, processor_name, timed_test
from mnist import load as load_mnist
from sklearn.ensemble import VotingClassifier

from sklearn_ckn import CKNClassifier, SupervisedCKNClassifier

#: Parameters that the default chooses and the rows after it take from it.
CHOSEN = ("whitening", "flip_average", "normalize")
PLAIN = {"whitening": None, "flip_average": False, "normalize": 0.0}
DEFAULT = "default"


def average_three(chosen, seed):
    """Return a classifier that averages the probabilities of three networks."""
    powers = [None] * 3 if chosen["whitening"] is None else [0.0, 0.25, 0.5]
    networks = [
        (
            f"network {i}",
            CKNClassifier(**{**chosen, "whitening": power}, random_state=seed + i),
        )
        for i, power in enumerate(powers)
    ]
    return VotingClassifier(networks, voting="soft")


def fixed(n_anchors, chosen, seed):
    """Return a classifier with some anchors that chooses nothing but alpha."""
    return CKNClassifier(n_anchors, **chosen, random_state=seed)


#: Makers of models, of what the default has chosen and a seed.
ROWS = {
    "plain": lambda chosen, seed: CKNClassifier(**PLAIN, random_state=seed),
    "choice made before": partial(fixed, (64, 256)),
    "64, 512 anchors": partial(fixed, (64, 512)),
    "256, 1024 anchors": partial(fixed, (256, 1024)),
    "three networks": average_three,
    "supervised": lambda chosen, seed: SupervisedCKNClassifier(
        n_epochs=10, **chosen, random_state=seed
    ),
}


def load(directory, name, max_train):
    """Return images and labels to train and to test on."""
    if name == "cifar":
        return load_cifar(directory, max_train)
    if name == "mnist":
        X, y, X_test, y_test = load_mnist(directory)
        return *outside.draw(X, y, max_train), X_test, y_test
    return outside.load(directory / f"{name}.npz", max_train)


def evaluate(model, *data):
    """Train and test a model; return accuracy, seconds, and what it has chosen."""
    result = timed_test(model, *data)
    chosen = {
        name: getattr(model, f"{name}_")
        for name in CHOSEN
        if hasattr(model, f"{name}_")
    }
    return result, chosen


def print_row(name, model, prepare, repeats):
    """Run a model in processes of its own, print its row, and return its choice."""
    runs = [in_process(prepare, partial(evaluate, model)) for _ in range(repeats)]
    (result, chosen), _, _, peak = min(runs, key=lambda run: run[0][0]["fit_seconds"])
    accuracy, n_test = result["accuracy"], result["n_test"]
    error = sqrt(accuracy * (1 - accuracy) / n_test)
    print(
        f"{name:20} | {100 * accuracy:6.2f} +- {100 * error:4.2f} "
        f"| {result['fit_seconds']:7.1f} "
        f"| {1000 * result['predict_seconds'] / n_test:10.2f} | {peak:6.0f}",
        flush=True,
    )
    return chosen


def main():
    """Print a table for each set, row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["cifar", "mnist"])
    parser.add_argument("--max-train", type=int, default=3000)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(processor_name())
    for name in arguments.sets:
        prepare = partial(load, arguments.data, name, arguments.max_train)
        print(f"\n{name}, at most {arguments.max_train} training images")
        print(f"{'':20} | accuracy, %     | fit, s  | ms an image | MB")
        default = CKNClassifier(random_state=arguments.seed)
        chosen = print_row(DEFAULT, default, prepare, arguments.repeats)
        print(f"chosen: {chosen}")
        for row in arguments.rows:
            model = ROWS[row](chosen, arguments.seed)
            print_row(row, model, prepare, arguments.repeats)


if __name__ == "__main__":
    main()
