"""Accuracy on image sets that the defaults were not chosen on, against other models.

``--data DIR`` has a file ``NAME.npz`` for each of ``--sets``: ``X_train`` and
``X_test``, uint8 (n, height, width) or (n, height, width, 3), ``y_train`` and
``y_test``. Other arrays in it, as those of validation images, are not read. Each model
chooses all it has to choose inside the training images, and test images only score.
All models and seeds get the same training images: where there are more than
``--max-train``, as many drawn at random. Models:

- CKN: ``CKNClassifier`` with its defaults
- CKN, supervised: ``SupervisedCKNClassifier`` with its defaults
- CKN, best fixed: for orientation, the best of 18 settings **by the test images**,
  which no user could choose: images as they are or with whitened patches of power 0 or
  0.25, with and without mirror averaging, normalized by the powers 0, 0.5 and 1
- RBF SVC: a support vector machine on pixels, C and gamma chosen in 3 folds
- HOG + SVC: on histograms of oriented gradients, in cells of 4 or 8 pixels; the cells,
  a linear or a Gaussian kernel, C and gamma chosen in 3 folds
- scattering + linear: standardized scattering coefficients with ridge or a linear
  support vector machine, chosen in 3 folds, as its regularization
- CNN: three blocks of 32, 64 and 128 channels with batch normalization, Adam, dropout
  and random shifts; the best epoch on 15 % of the training images is kept

Each set, model and seed runs in a process of its own, on ``--threads`` threads, and
``--results FILE`` gets a line of JSON as soon as it is finished. What is in the file is
not run again: a run may be interrupted, and the tables are printed from the file.
Standard errors are sqrt(p (1 - p) / n_test + variance between seeds / n_seeds). Run
with ``python benchmarks/outside.py --data DIR --sets NAMES --results FILE``; HOG needs
scikit-image, scattering kymatio, and the CNN PyTorch.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from _outside_models import (
    BEST_FIXED,
    CHOSEN,
    FIXED_SETTINGS,
    MODELS,
    OURS,
    PEERS,
    SUPERVISED,
    WITHOUT_SEED,
)
from _outside_tables import print_tables
from _timing import processor_name, timed_test
from _workers import limit_threads


def load(path, max_train):
    """Return images and labels to train and to test on."""
    with np.load(path) as archive:
        X, y, X_test, y_test = (
            archive[name] for name in ("X_train", "y_train", "X_test", "y_test")
        )
    for images in (X, X_test):
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise ValueError(
                f"{path}: images must be uint8 (n, height, width) or (n, height, "
                f"width, channels), not {images.dtype} {images.shape}"
            )
    return *draw(X, y.ravel(), max_train), X_test, y_test.ravel()


def draw(X, y, max_train):
    """Return at most as many images and their labels, always the same ones."""
    if len(X) > max_train:
        rows = np.random.RandomState(0).choice(len(X), max_train, replace=False)
        X, y = X[rows], y[rows]
    return X, y


def evaluate(path, max_train, model_name, seed, n_threads):
    """Train and test a model; return what the file of results keeps of it."""
    model = MODELS[model_name](seed, n_threads)
    return {
        **timed_test(model, *load(path, max_train)),
        "chosen": {
            name: str(getattr(model, name)) for name in CHOSEN if hasattr(model, name)
        },
    }


def read_results(path):
    """Return the lines of a file of results, by set, model, seed and conditions."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {key_of(record): record for record in map(json.loads, lines)}


def key_of(record):
    """Return what tells a result from others."""
    names = ("set", "model", "seed", "max_train", "threads")
    return tuple(record[name] for name in names)


def run(jobs, path, data):
    """Run the jobs that the file does not have, and append each one's result to it."""
    finished = read_results(path)
    for job in jobs:
        if key_of(job) in finished:
            continue
        # Spawned, so that its libraries read the number of threads.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            result = executor.submit(
                evaluate,
                data / f"{job['set']}.npz",
                job["max_train"],
                job["model"],
                job["seed"],
                job["threads"],
            ).result()
        record = {**job, **result, "processor": processor_name()}
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(
            f"{job['set']}, {job['model']}, seed {job['seed']}: "
            f"{100 * result['accuracy']:.2f} %, {result['fit_seconds']:.1f} s, "
            f"{result['chosen']}",
            flush=True,
        )


def list_jobs(arguments):
    """Return the sets, models and seeds that were asked for."""
    jobs = []
    for set_name in arguments.sets:
        for choice in arguments.models:
            for model in FIXED_SETTINGS if choice == BEST_FIXED else (choice,):
                for seed in range(1 if model in WITHOUT_SEED else arguments.seeds):
                    jobs.append(
                        {
                            "set": set_name,
                            "model": model,
                            "seed": seed,
                            "max_train": arguments.max_train,
                            "threads": arguments.threads,
                        }
                    )
    return jobs


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (OURS, SUPERVISED, BEST_FIXED, *PEERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument(
        "--models",
        nargs="+",
        choices=(*names, *FIXED_SETTINGS),
        metavar="MODEL",
        default=names,
        help="of the table above, or single settings of the best fixed",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-train", type=int, default=5000)
    parser.add_argument("--results", type=Path, default=Path("outside.jsonl"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--tables", action="store_true", help="print what the file has, and run nothing"
    )
    return parser.parse_args()


def main():
    """Run what is missing and print the tables."""
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    jobs = list_jobs(arguments)
    if not arguments.tables:
        run(jobs, arguments.results, arguments.data)
    finished = read_results(arguments.results)
    print_tables([finished[key_of(job)] for job in jobs if key_of(job) in finished])


if __name__ == "__main__":
    main()
