"""device="cuda": clear errors without CuPy or a GPU, and the same path without one."""

import sys
import types

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    SphericalKMeans,
    SupervisedCKNClassifier,
)
from sklearn_ckn._engine import ArrayEngine, get_engine

IMAGES = np.random.RandomState(0).randn(20, 7, 6, 2)
LABELS = np.arange(20) % 2
ESTIMATORS = [CKNFeatures, CKNClassifier, SphericalKMeans, SupervisedCKNClassifier]


def fit(estimator, **parameters):
    if estimator is SphericalKMeans:
        return SphericalKMeans(3, random_state=0, **parameters).fit(
            IMAGES.reshape(20, -1)
        )
    if estimator is SupervisedCKNClassifier:
        parameters |= {"n_epochs": 2, "alpha": 1e-2, "learn_beta": True}
    return estimator(n_anchors=(4, 6), random_state=0, **parameters).fit(IMAGES, LABELS)


def fake_cupy(count):
    """Return a module that answers as CuPy does on a machine without a GPU."""

    class CUDARuntimeError(RuntimeError):
        pass

    def device_count():
        if isinstance(count, str):
            raise CUDARuntimeError(count)
        return count

    runtime = types.SimpleNamespace(
        getDeviceCount=device_count, CUDARuntimeError=CUDARuntimeError
    )
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(runtime=runtime)
    return module


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_without_cupy(estimator, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        ImportError, match=r"sklearn-ckn\[cuda12\].*sklearn-ckn\[cuda13"
    ):
        fit(estimator, device="cuda")
    fitted = fit(estimator)
    before = vars(fitted).copy()
    fitted.set_params(device="cuda")
    X = IMAGES.reshape(20, -1) if estimator is SphericalKMeans else IMAGES
    with pytest.raises(ImportError, match="CuPy"):
        fitted.fit(X, LABELS)
    assert vars(fitted.set_params(device="cpu")) == before


@pytest.mark.parametrize(
    "count", ["cudaErrorNoDevice", "cudaErrorInsufficientDriver", 0]
)
def test_without_a_gpu(count, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(count))
    message = count if count else "needs an NVIDIA GPU"
    with pytest.raises(RuntimeError, match=message):
        get_engine("cuda")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_array_engine_behind_the_estimators(estimator, monkeypatch):
    # The path of a GPU, with NumPy in the place of CuPy.
    on_cpu = fit(estimator)
    for module in ("_features", "_spherical_kmeans", "_supervised"):
        monkeypatch.setattr(
            f"sklearn_ckn.{module}.get_engine", lambda device, X: ArrayEngine()
        )
    on_array = fit(estimator, device="cuda")
    if estimator is SphericalKMeans:
        assert_allclose(on_array.cluster_centers_, on_cpu.cluster_centers_, atol=1e-12)
        return
    if estimator is SupervisedCKNClassifier:
        assert on_cpu.best_epoch_ > 0
    method = "transform" if estimator is CKNFeatures else "decision_function"
    # The heads divide by alpha = 1e-6: 1e-15 grows to 1e-9.
    assert_allclose(
        getattr(on_array, method)(IMAGES), getattr(on_cpu, method)(IMAGES), atol=1e-7
    )


@pytest.mark.gpu
@pytest.mark.parametrize(
    "estimator", [CKNFeatures, CKNClassifier, SupervisedCKNClassifier]
)
def test_on_a_gpu(estimator):
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("no GPU")
    method = "transform" if estimator is CKNFeatures else "decision_function"
    results = [
        getattr(fit(estimator, device=device), method)(IMAGES)
        for device in ("cpu", "cuda")
    ]
    assert isinstance(results[1], np.ndarray)
    assert_allclose(*results, atol=1e-7)
