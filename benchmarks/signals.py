"""Accuracy on sets of signals, against the ROCKET family and nearest neighbours.

``--data DIR`` has a file ``ucr_NAME.npz`` or ``uea_NAME.npz`` for each set: ``X_train``
and ``X_test``, (n, 1, length) or (n, 1, length, channels), ``y_train`` and ``y_test``.
``--sets`` chooses some of them, or files of any other name. ``--aeon DIR`` adds the ten
sets of equal lengths that come with aeon; where DIR lacks them, they are written into
it, for which aeon must be installed. Models, all with their defaults:

- CKN: ``CKNClassifier.for_signals``
- MiniRocket (Dempster et al., KDD 2021) and MultiRocket-Hydra (Dempster et al., Data
  Mining and Knowledge Discovery 2023), by aeon
- 1-NN DTW: the nearest neighbour by dynamic time warping without a window, by aeon,
  where n_train * n_test * channels * length^2 is at most 1e11

Each model runs in a process of its own, with one thread, and fits a few made-up signals
before it is timed, so that nothing is compiled meanwhile. ``--store FILE`` gets a line
of JSON for each set, model and seed as soon as it is finished. What is in the file is
not run again: a run may be interrupted, and models whose package this interpreter lacks
may be run by another one into the same file. The tables are printed from the file.

Run with ``python benchmarks/signals.py --data DIR --aeon DIR --store FILE``.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from _signals_data import find_sets, load, write_shipped
from _signals_models import MODELS, warm_up
from _signals_tables import print_tables
from _timing import processor_name, timed_test
from _workers import limit_threads


def evaluate(path, model_name, seed):
    """Train and test a model; return what the file of results keeps of it.

    None if the set is too large for the model.
    """
    X, y, X_test, y_test = load(path)
    model = MODELS[model_name]
    if not model.is_affordable(X.shape, X_test.shape):
        return None
    n_channels, length = X.shape[1:]
    warm_up(model_name, n_channels)
    return {
        **timed_test(model.make(seed), X, y, X_test, y_test),
        "n_channels": n_channels,
        "length": length,
        "n_classes": len(np.unique(y)),
        "version": installed_version(model.package),
        "processor": processor_name(),
    }


def installed_version(package):
    """Return the name and version of a package."""
    name = package.replace("_", "-")
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        # Imported from its source folder.
        return f"{name} {__import__(package).__version__}"


def read_results(store):
    """Return the lines of a file of results, by set, model and seed."""
    lines = store.read_text().splitlines() if store.exists() else []
    return {key_of(record): record for record in map(json.loads, lines)}


def key_of(record):
    """Return what tells a result from others."""
    return tuple(record[name] for name in ("set", "model", "seed"))


def run(jobs, paths, store):
    """Run jobs one after the other, and append each one's result to the store."""
    for job in jobs:
        result = evaluate(paths[job["set"]], job["model"], job["seed"])
        named = f"{job['set']}, {job['model']}, seed {job['seed']}"
        if result is None:
            print(f"{named}: too large", flush=True)
            continue
        with store.open("a") as file:
            file.write(json.dumps({**job, **result}) + "\n")
        print(
            f"{named}: {100 * result['accuracy']:.2f} %, "
            f"{result['fit_seconds'] + result['predict_seconds']:.2f} s",
            flush=True,
        )


def run_missing(jobs, paths, store):
    """Run the jobs that the store lacks, those of each model in its own process."""
    finished = read_results(store)
    for name in dict.fromkeys(job["model"] for job in jobs):
        own = [
            job for job in jobs if job["model"] == name and key_of(job) not in finished
        ]
        if own and find_spec(MODELS[name].package) is None:
            print(f"{name} is left out: {MODELS[name].package} is not installed.")
        elif own:
            # Spawned, so that its libraries read the number of threads.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                executor.submit(run, own, paths, store).result()


def list_jobs(set_names, model_names, n_seeds):
    """Return sets, models and seeds; all sets with one seed before the next seed."""
    return [
        {"set": set_name, "model": model, "seed": seed}
        for model in model_names
        for seed in range(n_seeds if MODELS[model].has_seed else 1)
        for set_name in set_names
    ]


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of npz files")
    parser.add_argument("--aeon", type=Path, help="folder for the sets of aeon")
    parser.add_argument("--sets", nargs="+", help="all of the folders by default")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, default=Path("signals.jsonl"))
    parser.add_argument(
        "--tables", action="store_true", help="print what the file has, and run nothing"
    )
    arguments = parser.parse_args()
    if arguments.data is None and arguments.aeon is None:
        parser.error("one of --data and --aeon is required")
    return arguments


def main():
    """Run what is missing and print the tables."""
    arguments = parse_arguments()
    limit_threads(1)
    if arguments.aeon is not None:
        write_shipped(arguments.aeon)
    folders = [each for each in (arguments.data, arguments.aeon) if each is not None]
    paths = find_sets(folders, arguments.sets)
    jobs = list_jobs(paths, arguments.models, arguments.seeds)
    if not arguments.tables:
        run_missing(jobs, paths, arguments.store)
    finished = read_results(arguments.store)
    records = [finished[key_of(job)] for job in jobs if key_of(job) in finished]
    if records:
        print_tables(records)


if __name__ == "__main__":
    main()
