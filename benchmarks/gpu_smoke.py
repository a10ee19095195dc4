"""Every estimator with ``device="cuda"`` against the CPU, in two minutes.

Run with ``python benchmarks/gpu_smoke.py`` on a machine with an NVIDIA GPU and CuPy.
The same fitted model computes on both, from NumPy and from CuPy; a fit on the GPU must
be as accurate as that on the CPU. Times are those of calls as a user makes them, the
first of which compiles kernels. ``--trial`` runs it on a CPU with the stand-in of the
tests in the place of CuPy.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
)

#: Largest difference of results of one model, over their largest value, by the dtype of
#: the images. Decisions of heads with the smallest alphas enlarge the rounding.
BOUNDS = {"u1": 1e-3, "f4": 1e-3, "f8": 1e-6}

OF_ROWS = (SphericalKMeans, LinearPathClassifier, RidgePathRegressor)

#: By how much the score of a model fitted on the GPU may be below that on the CPU: its
#: anchors may be another draw.
SCORE_BOUND = 0.03


def estimators(n_anchors):
    """Return estimators and the dtype of their images by their names."""
    choice = {"n_anchors": n_anchors, "n_patches": 20_000, "random_state": 0}
    plain = {"whitening": None, "flip_average": False, "normalize": 0.0}
    network = {**choice, **plain}
    training = {**network, "n_epochs": 2, "alpha": 1e-3}
    return {
        "features, uint8": (CKNFeatures(**network), "u1"),
        "features, float32": (CKNFeatures(**network, kmeans_max_iter=3), "f4"),
        "features, float64": (
            CKNFeatures(**choice, whitening=0.25, flip_average=True, normalize=0.5),
            "f8",
        ),
        "k-means": (SphericalKMeans(20, max_iter=10, random_state=0), "f4"),
        "whitening": (PatchWhitening(), "f4"),
        "ridge path": (LinearPathClassifier("ridge"), "f4"),
        "SVM path": (LinearPathClassifier("linear_svm"), "f4"),
        "logistic path": (LinearPathClassifier("logistic", alpha=1e-2), "f4"),
        "regression path": (RidgePathRegressor(), "f4"),
        "classifier, ridge": (CKNClassifier(**network), "f4"),
        "classifier, chosen map": (CKNClassifier(**choice), "f4"),
        "classifier, SVM": (CKNClassifier(**network, head="linear_svm"), "u1"),
        "classifier, logistic": (
            CKNClassifier(**network, head="logistic", alpha=1e-3),
            "f4",
        ),
        "regressor": (CKNRegressor(**network), "f4"),
        "supervised": (SupervisedCKNClassifier(**training), "f4"),
        "supervised, flipped": (
            SupervisedCKNClassifier(
                **{**training, "flip_average": True},
                augment="flip+shift",
                learn_beta=True,
            ),
            "f4",
        ),
    }


def result(model, X):
    """Return what a model makes of X."""
    for name in ("decision_function", "transform", "predict"):
        if hasattr(model, name):
            return getattr(model, name)(X)
    raise TypeError(f"{type(model).__name__} has no result")


def timed(function, synchronize):
    """Return a function's result and the seconds until the GPU is done."""
    start = time.perf_counter()
    value = function()
    synchronize()
    return value, time.perf_counter() - start


def check(name, estimator, dtype, cupy, n_images):
    """Fit and compute on both; print a line; return whether they agree."""
    digits = load_digits()
    X = digits.images[:n_images].astype(dtype)
    y = digits.target[:n_images]
    has_device = "device" in estimator.get_params()
    if isinstance(estimator, OF_ROWS):
        X = X.reshape(len(X), -1)
    on_gpu = cupy.asarray(X)

    def synchronize():
        cupy.cuda.get_current_stream().synchronize()

    model, cpu_seconds = timed(lambda: clone(estimator).fit(X, y), lambda: None)
    expected = result(model, X)
    other = clone(estimator)
    if has_device:
        other.set_params(device="cuda")
    # Without a parameter the device is that of the images.
    given = X if has_device else on_gpu
    other, first = timed(lambda: other.fit(given, y), synchronize)
    _, second = timed(lambda: clone(other).fit(given, y), synchronize)

    differences = []
    if has_device:
        model.set_params(device="cuda")
        differences.append(np.abs(result(model, X) - expected).max())
    found = result(model, on_gpu)
    found = found.get() if isinstance(found, cupy.ndarray) else found
    differences.append(np.abs(found - expected).max())
    largest = max(differences) / np.abs(expected).max()
    agrees = largest <= BOUNDS[dtype]
    scores = ""
    if hasattr(model, "score") and not isinstance(estimator, SphericalKMeans):
        pair = [each.score(X if has_device else on_gpu, y) for each in (model, other)]
        agrees = agrees and pair[1] >= pair[0] - SCORE_BOUND
        scores = "{:.4f} {:.4f}".format(*pair)
    print(
        f"{name:22} | {largest:.1e} | {scores:13} | {cpu_seconds:7.2f} | "
        f"{first:7.2f} | {second:7.2f} | {'ok' if agrees else 'DIFFERS'}",
        flush=True,
    )
    return agrees


def import_cupy(is_trial):
    """Return CuPy, or its stand-in."""
    if is_trial:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from fake_cupy import make_cupy

        sys.modules.update(make_cupy())
    import cupy

    return cupy


def main():
    """Check one estimator after the other, those after a failure too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--trial", action="store_true", help="on a CPU, with a stand-in for CuPy"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="estimators, by names of the table"
    )
    options = parser.parse_args()
    cupy = import_cupy(options.trial)
    n_images = 60 if options.trial else 1797
    chosen = estimators((4, 6) if options.trial else (32, 64))
    if options.only:
        chosen = {name: chosen[name] for name in options.only}
    print(
        "estimator              | differ. | scores        | CPU fit | first s | then s"
    )
    failed = []
    for name, (estimator, dtype) in chosen.items():
        try:
            agrees = check(name, estimator, dtype, cupy, n_images)
        except Exception:
            traceback.print_exc(limit=-4)
            agrees = False
        if not agrees:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
