"""The tables of ``signals.py``, from its results."""

from dataclasses import dataclass

import numpy as np
from _signals_models import MODELS, OURS
from scipy.stats import rankdata

#: Points of accuracy up to which two models are equal on a set.
DRAW = 0.5


@dataclass
class Line:
    """A model on a set, over all its seeds; accuracy and its standard error in %."""

    accuracy: float
    standard_error: float
    seconds: float
    n_seeds: int

    @classmethod
    def of(cls, records):
        """Return the line of results that differ in their seed."""
        accuracies = 100 * np.array([record["accuracy"] for record in records])
        error = accuracies.std(ddof=1) / len(records) ** 0.5 if len(records) > 1 else 0
        seconds = [each["fit_seconds"] + each["predict_seconds"] for each in records]
        return cls(accuracies.mean(), error, np.mean(seconds), len(records))


def print_tables(records):
    """Print a table of all sets, and one of all models.

    Parameters
    ----------
    records : list of dict
        Results, of which each set, model and seed has one.
    """
    by_set = {}
    for record in records:
        models = by_set.setdefault(record["set"], {})
        models.setdefault(record["model"], []).append(record)
    lines = {
        name: {model: Line.of(each) for model, each in models.items()}
        for name, models in by_set.items()
    }
    shown = [model for model in MODELS if any(model in each for each in lines.values())]
    for processor in sorted({record["processor"] for record in records}):
        models = {each["model"] for each in records if each["processor"] == processor}
        print(
            f"\n{processor}, one thread: {', '.join(m for m in shown if m in models)}"
        )
    print(f"versions: {', '.join(sorted({record['version'] for record in records}))}")
    _print_sets(lines, {name: _describe(by_set[name]) for name in lines}, shown)
    _print_models(lines, shown)


def _describe(models):
    """Return the numbers of signals of a set, their shape and the number of classes."""
    first = next(iter(models.values()))[0]
    shape = f"{first['length']}"
    if first["n_channels"] > 1:
        shape = f"{first['n_channels']} x {shape}"
    return f"{first['n_train']:5} {first['n_test']:5} {shape:>9} {first['n_classes']:3}"


def _print_sets(lines, descriptions, shown):
    """Print accuracy, its standard error over seeds and the seconds of each model."""
    print(
        "\nof each model: accuracy in %, standard error over seeds, s to fit and test"
    )
    header = " | ".join(f"{model:>18}" for model in shown)
    print(f"{'set':25} train  test    length   k | {header}")
    for name, each in sorted(lines.items()):
        cells = []
        for model in shown:
            line = each.get(model)
            cells.append(
                f"{line.accuracy:6.2f} {line.standard_error:4.2f} {line.seconds:6.2f}"
                if line
                else " " * 18
            )
        print(f"{name:25} {descriptions[name]} | {' | '.join(cells)}")


def _print_models(lines, shown):
    """Print means over the sets that all models have, and ours against each."""
    common = [each for each in lines.values() if all(model in each for model in shown)]
    print(
        f"\nmeans, ranks and seconds: {len(common)} sets, which all models have; wins, "
        f"draws (within {DRAW:g} points) and losses of {OURS}: all {len(lines)} sets"
    )
    if not common:
        return
    accuracies = np.array([[each[m].accuracy for m in shown] for each in common])
    ranks = rankdata(-accuracies, axis=1)
    print(f"{'model':18} | mean % | mean rank | total s | seeds | wins draws losses")
    for column, model in enumerate(shown):
        seconds = sum(each[model].seconds for each in common)
        n_seeds = min(each[model].n_seeds for each in lines.values() if model in each)
        print(
            f"{model:18} | {accuracies[:, column].mean():6.2f} | "
            f"{ranks[:, column].mean():9.2f} | {seconds:7.1f} | {n_seeds:5} | "
            f"{_contest(lines, model)}"
        )


def _contest(lines, peer):
    """Return the numbers of sets on which ours is better, equal and worse."""
    differences = np.array(
        [
            each[OURS].accuracy - each[peer].accuracy
            for each in lines.values()
            if OURS in each and peer in each
        ]
    )
    if peer == OURS or not len(differences):
        return ""
    wins, losses = (differences > DRAW).sum(), (differences < -DRAW).sum()
    return f"{wins:4} {len(differences) - wins - losses:5} {losses:6}"
