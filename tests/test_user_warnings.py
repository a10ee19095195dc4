"""Warnings name the line of the user's code, whatever lies between it and them."""

import sys
import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    PatchWhitening,
    SphericalKMeans,
    SupervisedCKNClassifier,
    ckn_kernel,
)
from sklearn_ckn._common.user_warnings import warn_user
from sklearn_ckn._heads import newton

ROWS = np.random.RandomState(0).rand(24, 9)
LABELS = np.arange(24) % 2
NETWORK = {"n_anchors": (3,), "n_patches": 50, "random_state": 0}
ESTIMATORS = {
    "features": CKNFeatures(**NETWORK),
    "classifier": CKNClassifier(**NETWORK, alpha=1e-2),
    "supervised": SupervisedCKNClassifier(**NETWORK, alpha=1e-2, n_epochs=0),
    "regressor": CKNRegressor(**NETWORK, alpha=1e-2),
}


def one_warning(function, match):
    """Call a function and check that its only warning names a line of this file."""
    with pytest.warns(UserWarning, match=match) as record:
        function()
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.parametrize("name", [*ESTIMATORS, "whitening"])
def test_rows_without_a_shape(name):
    model = clone(ESTIMATORS.get(name, PatchWhitening()))
    one_warning(lambda: model.fit(ROWS, LABELS), "image_shape is None")
    one_warning(lambda: make_pipeline(clone(model)).fit(ROWS, LABELS), "is None")
    if hasattr(model, "fit_transform"):
        one_warning(lambda: clone(model).fit_transform(ROWS), "is None")


def test_functions_and_clusters():
    one_warning(lambda: ckn_kernel(ROWS), "image_shape is None")
    points = np.ones((5, 2))
    one_warning(lambda: SphericalKMeans(2).fit(points), "distinct directions")
    one_warning(lambda: SphericalKMeans(2).fit_predict(points), "distinct directions")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_missing_anchors(name):
    model = clone(ESTIMATORS[name]).set_params(n_anchors=(3,), image_shape=(3, 3))
    X = np.tile([[0, 0, 0, 0, 1, 0, 0, 0, 1.0]], (24, 1))
    X[:, 0] = LABELS
    model.set_params(n_anchors=(500,))
    one_warning(lambda: model.fit(X, LABELS), "distinct patches")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_opacity_and_a_gpu_that_is_missing(name, monkeypatch):
    images = np.dstack([ROWS, np.ones_like(ROWS)]).reshape(24, 3, 3, 2)
    model = clone(ESTIMATORS[name])
    one_warning(lambda: model.fit(images, LABELS), "opacity")
    monkeypatch.setitem(sys.modules, "cupy", None)
    model.set_params(device="cuda")
    methods = {"transform", "predict", "predict_proba"} & set(dir(model))
    for method in sorted(methods):
        one_warning(lambda name=method: getattr(model, name)(images), "on the CPU")


def test_heads_that_do_not_converge(monkeypatch):
    monkeypatch.setattr(newton, "MAX_ITER", 1)
    model = LinearPathClassifier("logistic", alpha=1e-6)
    with pytest.warns(UserWarning, match="did not converge") as record:
        model.fit(ROWS, LABELS)
    assert {each.filename for each in record} == {__file__}


def test_a_memory_that_cannot_be_written(tmp_path):
    folder = tmp_path / "file"
    folder.write_text("")
    model = CKNFeatures(**NETWORK, image_shape=(3, 3), memory=str(folder))
    with pytest.warns(UserWarning, match="the fit does without it") as record:
        model.fit(ROWS)
    own = [each for each in record if "the fit does without it" in str(each.message)]
    assert [each.filename for each in own] == [__file__]


def test_threads_have_no_caller_of_their_own():
    # Their oldest frame is that of a thread, which no user has written.
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        Parallel(n_jobs=2, backend="threading")(
            delayed(warn_user)("in a thread") for _ in range(2)
        )
    assert [str(each.message) for each in record] == ["in a thread"] * 2
