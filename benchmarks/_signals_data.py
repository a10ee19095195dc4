"""The sets of signals that ``signals.py`` reads, and those that come with aeon."""

from pathlib import Path

import numpy as np

#: What the names of files begin with, to tell signals from images in one folder.
PREFIXES = ("ucr_", "uea_", "aeon_")

#: Sets for classification, of equal lengths or cut to one, in the package aeon 1.6.
SHIPPED = (
    *("ACSF1", "ArrowHead", "BasicMotions", "Covid3Month_disc", "GunPoint"),
    *("ItalyPowerDemand", "JapaneseVowels", "OSULeaf", "PickupGestureWiimoteZ"),
    "UnitTest",
)


def find_sets(folders, names=None):
    """Return the files of sets by name, without prefix; of equal names the first.

    Parameters
    ----------
    folders : list of Path
    names : list of str or None
        With or without prefix; None stands for all whose files have one.
    """
    paths = {}
    for folder in folders:
        for path in sorted(folder.glob("*.npz")):
            name = set_name(path)
            if names is None:
                is_asked_for = name != path.stem
            else:
                is_asked_for = name in names or path.stem in names
            if is_asked_for:
                paths.setdefault(name, path)
    missing = {set_name(Path(f"{name}.npz")) for name in names or ()} - paths.keys()
    if missing or not paths:
        raise ValueError(
            f"No file of {', '.join(sorted(missing)) or 'signals'} in "
            f"{', '.join(map(str, folders))}; --sets takes names of npz files."
        )
    return dict(sorted(paths.items()))


def set_name(path):
    """Return a file's name without prefix and ending."""
    for prefix in PREFIXES:
        if path.stem.startswith(prefix):
            return path.stem.removeprefix(prefix)
    return path.stem


def load(path):
    """Return signals and labels to train and to test on.

    Returns
    -------
    X, X_test : ndarray of float64, shape (n, channels, length)
    y, y_test : ndarray of shape (n,)
    """
    with np.load(path) as archive:
        X, y, X_test, y_test = (
            archive[name] for name in ("X_train", "y_train", "X_test", "y_test")
        )
    return channels_first(X), y.ravel(), channels_first(X_test), y_test.ravel()


def channels_first(images):
    """Return signals (n, channels, length) of images with one row."""
    if images.ndim not in (3, 4) or images.shape[1] != 1:
        raise ValueError(
            "signals must be stored as (n, 1, length) or (n, 1, length, channels), not "
            f"{images.shape}"
        )
    rows = images.reshape(len(images), images.shape[2], -1)
    return np.ascontiguousarray(rows.transpose(0, 2, 1), dtype=np.float64)


def write_shipped(folder):
    """Write the sets that come with aeon into a folder, those that it lacks."""
    missing = [name for name in SHIPPED if not (folder / f"aeon_{name}.npz").exists()]
    if not missing:
        return
    import aeon.datasets

    source = str(Path(aeon.datasets.__file__).parent / "data")
    folder.mkdir(parents=True, exist_ok=True)
    for name in missing:
        arrays = {}
        for part in ("train", "test"):
            signals, labels = aeon.datasets.load_classification(
                name, split=part, extract_path=source, load_equal_length=True
            )
            images = np.transpose(signals, (0, 2, 1))[:, np.newaxis]
            arrays[f"X_{part}"] = images.astype(np.float32)
            arrays[f"y_{part}"] = labels
        classes = np.unique(arrays["y_train"])
        for part in ("train", "test"):
            arrays[f"y_{part}"] = np.searchsorted(classes, arrays[f"y_{part}"])
        np.savez_compressed(folder / f"aeon_{name}.npz", **arrays)
