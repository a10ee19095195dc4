"""Random cases for every public estimator against float64 references.

Every case follows from the seed and its number alone; ``--case K`` runs one again,
``--only NAME`` those of one estimator. A case that fails prints a line that runs it
again, and the others go on. The instruction sets of the machine take turns.
"""

import argparse
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from checks import RefusedError
from head_cases import (
    check_ckn_classifier,
    check_ckn_regressor,
    check_linear_path_classifier,
    check_ridge_path_regressor,
    check_supervised,
)
from network_cases import check_ckn_features, check_engine
from other_cases import check_ckn_kernel, check_patch_whitening, check_spherical_kmeans
from refusal_cases import check_refusals

from sklearn_ckn._ext import _cpu

#: Of each name how many cases of a hundred, and what checks them.
CASES = {
    "engine": (18, check_engine),
    "CKNFeatures": (20, check_ckn_features),
    "CKNClassifier": (10, check_ckn_classifier),
    "CKNRegressor": (8, check_ckn_regressor),
    "SupervisedCKNClassifier": (4, check_supervised),
    "PatchWhitening": (8, check_patch_whitening),
    "LinearPathClassifier": (12, check_linear_path_classifier),
    "RidgePathRegressor": (8, check_ridge_path_regressor),
    "SphericalKMeans": (6, check_spherical_kmeans),
    "ckn_kernel": (6, check_ckn_kernel),
}

#: Part of the cases of an estimator that are about what it refuses.
REFUSALS = 0.2

SECONDS_PER_CASE = 60
GIBIBYTES = 6


class TooLongError(Exception):
    """A case took more than SECONDS_PER_CASE."""


def _stop(*arguments):
    raise TooLongError(f"more than {SECONDS_PER_CASE} s")


def case_name(rng):
    """Return the name of a case, the first thing drawn."""
    shares = np.array([share for share, _ in CASES.values()], float)
    return list(CASES)[rng.choice(len(CASES), p=shares / shares.sum())]


def run_case(seed, number, only):
    """Run one case.

    Returns
    -------
    name : str or None
        None where ``only`` leaves it out.
    outcome : "passed", "refused" or Exception
    """
    rng = np.random.default_rng([seed, number])
    name = case_name(rng)
    if only not in (None, name):
        return None, "passed"
    sets = _cpu.instruction_sets()
    os.environ["SKLEARN_CKN_ISA"] = sets[number % len(sets)]
    signal.alarm(SECONDS_PER_CASE)
    try:
        if name != "engine" and rng.random() < REFUSALS:
            outcome = check_refusals(rng, name)
        else:
            outcome = CASES[name][1](rng)
    except RefusedError:
        outcome = "refused"
    except Exception as error:
        return name, error
    finally:
        signal.alarm(0)
    return name, "refused" if outcome == "refused" else "passed"


def parse_arguments():
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog=".ci/fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(CASES), help="one estimator's cases")
    parser.add_argument("--case", type=int, help="a single case, with its traceback")
    return parser.parse_args()


def print_table(counts, seconds):
    """Print what became of the cases of every estimator."""
    columns = ("passed", "refused", "failed")
    print(
        f"\n{'':24}{'cases':>8}"
        + "".join(f"{name:>9}" for name in columns)
        + f"{'s':>8}"
    )
    totals = Counter()
    for name in CASES:
        if name in counts:
            totals.update(counts[name])
            _print_row(name, counts[name], seconds[name], columns)
    _print_row("all", totals, sum(seconds.values()), columns)


def _print_row(name, counts, seconds, columns):
    numbers = "".join(f"{counts[column]:>9}" for column in columns)
    print(f"{name:24}{sum(counts.values()):>8}{numbers}{seconds:>8.0f}")


def main():
    """Run the cases and return the exit status."""
    options = parse_arguments()
    signal.signal(signal.SIGALRM, _stop)
    # What takes gigabytes fails, and does not take the machine with it.
    resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTES * 2**30, resource.RLIM_INFINITY))
    numbers = range(options.cases) if options.case is None else [options.case]
    counts, seconds = defaultdict(Counter), Counter()
    for number in numbers:
        start = time.perf_counter()
        name, outcome = run_case(options.seed, number, options.only)
        if name is None:
            continue
        seconds[name] += time.perf_counter() - start
        failed = isinstance(outcome, Exception)
        counts[name]["failed" if failed else outcome] += 1
        if failed:
            text = " ".join(f"{type(outcome).__name__}: {outcome}".split())
            command = f".ci/fuzz --seed {options.seed} --case {number}"
            print(f"{command}  # {name}: {text[:300]}", flush=True)
            if options.case is not None:
                traceback.print_exception(outcome)
    print_table(counts, seconds)
    return int(any(each["failed"] for each in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
