"""The tables of ``outside.py``, from its results."""

from dataclasses import dataclass

import numpy as np
from _outside_models import BEST_FIXED, FIXED_SETTINGS, OURS, PEERS, SUPERVISED

#: Accuracies in percent on the same test images, without pretraining; what was chosen
#: was chosen on validation images, which the models here do not see. Yang et al.,
#: MedMNIST v2, Scientific Data 2023, table 3.
PUBLISHED = {
    "breastmnist": {"ResNet-18": 86.3, "AutoKeras": 83.1, "auto-sklearn": 80.3},
    "pneumoniamnist": {"ResNet-18": 85.4, "AutoKeras": 87.8, "auto-sklearn": 85.5},
    "retinamnist": {"ResNet-18": 52.4, "AutoKeras": 50.3, "auto-sklearn": 51.5},
}


@dataclass
class Line:
    """A model on a set, over all its seeds; accuracy and its standard error in %."""

    accuracy: float
    standard_error: float
    fit_seconds: float
    predict_seconds: float
    n_seeds: int

    @classmethod
    def of(cls, records):
        """Return the line of results that differ in their seed."""
        accuracies = np.array([record["accuracy"] for record in records])
        mean = accuracies.mean()
        variance = mean * (1 - mean) / records[0]["n_test"]
        if len(records) > 1:
            variance += accuracies.var(ddof=1) / len(records)
        return cls(
            100 * mean,
            100 * variance**0.5,
            *(
                np.mean([record[name] for record in records])
                for name in ("fit_seconds", "predict_seconds")
            ),
            len(records),
        )


def print_tables(records):
    """Print a table of each set, and one of all.

    Parameters
    ----------
    records : list of dict
        Results, of which each set, model and seed has one.
    """
    processors = sorted({record["processor"] for record in records})
    print(f"\n{'; '.join(processors)}; {records[0]['threads']} threads")
    by_set = {}
    for record in records:
        models = by_set.setdefault(record["set"], {})
        models.setdefault(record["model"], []).append(record)
    lines = {name: _print_set(name, models) for name, models in by_set.items()}
    _print_summary(lines)


def _print_set(name, models):
    """Print the table of a set; return its lines by model."""
    first = next(iter(models.values()))[0]
    n_train, n_test = first["n_train"], first["n_test"]
    print(f"\n{name}: {n_train} images to train, {n_test} to test")
    print(f"{'model':24} | accuracy % | error | s to fit | s to predict | seeds")
    lines = {model: Line.of(each) for model, each in models.items()}
    fixed = [setting for setting in FIXED_SETTINGS if setting in lines]
    if fixed:
        best = max(fixed, key=lambda setting: lines[setting].accuracy)
        lines[BEST_FIXED] = lines[best]
    for model in (OURS, SUPERVISED, BEST_FIXED, *PEERS):
        if model in lines:
            line = lines[model]
            print(
                f"{model:24} | {line.accuracy:10.2f} | {line.standard_error:5.2f} | "
                f"{line.fit_seconds:8.1f} | {line.predict_seconds:12.2f} | "
                f"{line.n_seeds:5}"
            )
    for model, accuracy in PUBLISHED.get(name, {}).items():
        print(f"{'published: ' + model:24} | {accuracy:10.1f} |")
    if fixed:
        print("best fixed is chosen by the test images:")
        for setting in fixed:
            chosen = ", the best" if setting == best else ""
            print(f"  {setting}: {lines[setting].accuracy:.2f}{chosen}")
    return lines


def _print_summary(lines):
    """Print the accuracies on all sets, and where ours stands."""
    shown = [
        model
        for model in (OURS, SUPERVISED, BEST_FIXED, *PEERS)
        if any(model in each for each in lines.values())
    ]
    widths = [max(6, len(model)) for model in shown]
    print("\naccuracy in %; supervised, best fixed and published figures have no place")
    header = " | ".join(
        f"{model:>{width}}" for model, width in zip(shown, widths, strict=True)
    )
    print(f"{'set':16} | {header} | published | place of {OURS}")
    for name, each in lines.items():
        values = " | ".join(
            f"{each[model].accuracy:{width}.2f}" if model in each else " " * width
            for model, width in zip(shown, widths, strict=True)
        )
        published = PUBLISHED.get(name)
        best = f"{max(published.values()):9.1f}" if published else " " * 9
        print(f"{name:16} | {values} | {best} | {_place(each)}")


def _place(lines):
    """Return where ours stands among the models that choose without test images."""
    ranked = {model: lines[model] for model in (OURS, *PEERS) if model in lines}
    if OURS not in ranked or len(ranked) == 1:
        return ""
    first = max(ranked, key=lambda model: ranked[model].accuracy)
    behind = ranked[first].accuracy - ranked[OURS].accuracy
    if behind == 0:
        return "first"
    if behind <= ranked[first].standard_error:
        return f"within one standard error of {first}"
    return f"{behind:.2f} behind {first}"
