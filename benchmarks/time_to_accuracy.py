"""Accuracy against the time of the whole fit, for ours and other models.

Each point is one fit of one model on the same training images, in a process of its own
on ``--threads`` threads; test images only score. The time is that of ``fit`` with all
that it chooses, from images as uint8 arrays on: the choice of regularization of a
support vector machine in folds of the training images is part of it. Imports and the
reading of files are not. Models:

- CKN: ``CKNClassifier`` with its defaults, of five sizes
- CKN, supervised: ``SupervisedCKNClassifier`` with its defaults, 3, 10 and 30 epochs
- RBF SVC, HOG + SVC, scattering + linear: as in ``outside.py``
- CNN: that of ``outside.py``, trained on all images for 1, 3, 10 and 30 epochs; each
  is a training of its own, with a rate that falls to 0 at its end

``--data DIR`` holds the sets: ``cifar10`` is the file that ``cifar.py`` reads, whose
last 10,000 rows test here, ``mnist`` the files of ``mnist.py``, and any other name a
file of ``outside.py``. At most ``--rows`` images train, drawn at random, and the first
10,000 test. A fit and its predictions are stopped after ``--limit`` seconds.

``--results FILE`` gets a line of JSON for each point as soon as it is finished. What is
in the file is not run again, and ``--models`` chooses: a run may be made in pieces. The
tables tell which points are on the front, where no other model is both faster and more
accurate, and who is ahead within budgets of time. ``--figures DIR`` draws them. Run
with ``python benchmarks/time_to_accuracy.py --data DIR --sets cifar10 mnist --results
FILE``; HOG needs scikit-image, scattering kymatio, the CNN PyTorch, and CIFAR-10 as
JPEG files Pillow.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
from _accuracy_fronts import draw_figures, print_tables
from _accuracy_models import POINTS
from _cifar import load_cifar
from _timing import in_process, processor_name
from _workers import limit_threads
from mnist import load as load_mnist
from outside import draw, key_of, load, read_results

N_TEST = 10_000
SEED = 0


def load_set(directory, name, n_rows):
    """Return images and labels to train and to test on."""
    if name == "cifar10":
        X, y, X_test, y_test = load_cifar(directory, -N_TEST, N_TEST)
    elif name == "mnist":
        X, y, X_test, y_test = load_mnist(directory)
    else:
        return load(directory / f"{name}.npz", n_rows)
    return *draw(X, y, n_rows), X_test, y_test


def prepare(directory, job):
    """Return a model that is not fitted, and its images and labels."""
    X, y, X_test, y_test = load_set(directory, job["set"], job["max_train"])
    model = POINTS[job["model"]](job["seed"], job["threads"])
    return model, X, y, X_test[:N_TEST], y_test[:N_TEST]


def evaluate(model, X, y, X_test, y_test):
    """Train and test a model; return what the file of results keeps of it."""
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter()
    predicted = model.predict(X_test)
    return {
        "accuracy": float(np.mean(predicted == y_test)),
        "n_train": len(y),
        "n_test": len(y_test),
        "fit_seconds": fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
        "chosen": getattr(model, "chosen_", ""),
    }


def is_finished(record, limit):
    """Return whether a result, or None, needs no other try within a limit."""
    return record is not None and (
        record["accuracy"] is not None or record["limit"] >= limit
    )


def run(jobs, arguments):
    """Run the jobs that the file does not have, and append each one's result to it."""
    finished = read_results(arguments.results)
    for job in jobs:
        if is_finished(finished.get(key_of(job)), arguments.limit):
            continue
        result, _, _, peak = in_process(
            partial(prepare, arguments.data, job), evaluate, arguments.limit
        )
        if not isinstance(result, dict):
            # Stopped, or out of memory.
            result = {"accuracy": None, "reason": result}
            X, _, X_test, _ = load_set(arguments.data, job["set"], job["max_train"])
            result |= {"n_train": len(X), "n_test": len(X_test[:N_TEST])}
        record = {
            **job,
            **result,
            "limit": arguments.limit,
            "peak_memory": peak,
            "processor": processor_name(),
        }
        with arguments.results.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(
            f"{job['set']}, {job['model']}: not within {arguments.limit:.0f} s"
            if result["accuracy"] is None
            else f"{job['set']}, {job['model']}: {100 * result['accuracy']:.2f} %, "
            f"{result['fit_seconds']:.1f} s",
            flush=True,
        )


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["cifar10", "mnist"])
    parser.add_argument(
        "--models", nargs="+", choices=list(POINTS), metavar="MODEL", default=POINTS
    )
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--limit", type=float, default=600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("time_to_accuracy.jsonl"))
    parser.add_argument("--figures", type=Path, help="folder for a figure of each set")
    parser.add_argument(
        "--tables", action="store_true", help="print what the file has, and run nothing"
    )
    return parser.parse_args()


def main():
    """Run what is missing, print the tables and draw the figures."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    jobs = [
        {
            "set": set_name,
            "model": model,
            "seed": SEED,
            "max_train": arguments.rows,
            "threads": arguments.threads,
        }
        for set_name in arguments.sets
        for model in arguments.models
    ]
    if not arguments.tables:
        run(jobs, arguments)
    finished = read_results(arguments.results)
    records = [finished[key_of(job)] for job in jobs if key_of(job) in finished]
    print_tables(records, arguments.limit)
    if arguments.figures is not None:
        draw_figures(records, arguments.figures)


if __name__ == "__main__":
    main()
