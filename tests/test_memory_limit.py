"""The bound on the features that a folder ``memory`` keeps."""

import os

import joblib
from plain_map import PLAIN

from sklearn_ckn import CKNClassifier
from sklearn_ckn._learning import cache

# Without the choice of a map, which encodes images as well.
PARAMETERS = {"n_anchors": (8, 12), "n_patches": 2000, "random_state": 0, **PLAIN}


def fit_head(memory, digits, n_images, alpha=1e-3):
    parameters = {**PARAMETERS, "memory": memory, "alpha": alpha}
    return CKNClassifier(**parameters).fit(digits[0][:n_images], digits[1][:n_images])


def bytes_of_features(model, n_images):
    # Of uint8 images they are float32.
    return 4 * n_images * len(model.coef_[0])


def test_the_oldest_features_are_removed(digits, tmp_path, encodings, monkeypatch):
    n_bytes = bytes_of_features(fit_head(None, digits, 60), 60)
    # With room for two of these, and the rest of their entries.
    monkeypatch.setattr(cache, "FEATURE_BYTES", int(2.9 * n_bytes))
    encodings.clear()
    times = iter(range(1, 100))

    def fit_and_date(n_images, alpha=1e-3):
        before = set(tmp_path.rglob("output.pkl"))
        fit_head(tmp_path, digits, n_images, alpha)
        for path in set(tmp_path.rglob("output.pkl")) - before:
            # Files may be written within a tick of the clock.
            os.utime(path, (1e9 + next(times), 1e9 + next(times)))

    for n_images in (60, 59, 58):
        fit_and_date(n_images)
    assert encodings == [60, 59, 58]
    # The first ones are gone, the last ones are found. Layers are all there.
    for n_images in (58, 59):
        fit_and_date(n_images, alpha=1e-2)
    assert encodings == [60, 59, 58]
    layers = len(list(tmp_path.rglob("output.pkl")))
    fit_and_date(60, alpha=1e-2)
    assert encodings == [60, 59, 58, 60]
    assert len(list(tmp_path.rglob("output.pkl"))) == layers


def test_features_beyond_the_limit_are_not_stored(
    digits, tmp_path, encodings, monkeypatch
):
    n_bytes = bytes_of_features(fit_head(None, digits, 60), 60)
    monkeypatch.setattr(cache, "FEATURE_BYTES", n_bytes - 1)
    encodings.clear()
    for alpha in (1e-3, 1e-2):
        fit_head(tmp_path, digits, 60, alpha)
    assert encodings == [60, 60]
    sizes = [path.stat().st_size for path in tmp_path.rglob("output.pkl")]
    # Those of the two layers and of their patches.
    assert len(sizes) == 4
    # A memory of the user has no limit.
    for alpha in (1e-3, 1e-2):
        fit_head(joblib.Memory(tmp_path, verbose=0), digits, 60, alpha)
    assert encodings == [60, 60, 60]
