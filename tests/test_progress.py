"""Every step is printed and told to scikit-learn's callbacks; nothing else changes."""

import re
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    PatchWhitening,
    SupervisedCKNClassifier,
)
from sklearn_ckn._common.progress import Task

IMAGES = np.random.RandomState(0).randn(60, 7, 6, 2)
LABELS = np.arange(60) % 2
ESTIMATORS = [
    CKNFeatures((3, 4), kmeans_max_iter=3, random_state=0),
    CKNClassifier((3, 4), kmeans_max_iter=3, random_state=0),
    CKNRegressor((3, 4), kmeans_max_iter=3, random_state=0),
    SupervisedCKNClassifier((3, 4), kmeans_max_iter=3, n_epochs=4, random_state=0),
]


class Recorder:
    """Notes the begin and the end of every task; may ask to stop after epochs."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.is_open = [], [], False
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.is_open = True

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.estimator_name, context.task_name))
        n_epochs = [name for _, name in self.ended].count("epoch")
        return self.stop_after is not None and n_epochs >= self.stop_after

    def teardown(self, estimator, context):
        self.is_open = False


needs_callbacks = pytest.mark.skipif(
    find_spec("sklearn.callback") is None, reason="scikit-learn before 1.9"
)


@needs_callbacks
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_every_task_begins_and_ends(estimator):
    recorder = Recorder()
    fitted = estimator.set_callbacks(recorder).fit(IMAGES, LABELS)
    name = type(estimator).__name__
    assert recorder.begun[0] == recorder.ended[-1] == (name, "fit")
    assert sorted(recorder.begun) == sorted(recorder.ended)
    begun = [task for _, task in recorder.begun]
    assert [task for task in begun if "layer" in task] == ["layer 0", "layer 1"]
    assert begun.count("block") >= 2
    assert begun.count("k-means iteration") >= 2
    if name == "SupervisedCKNClassifier":
        assert begun.count("epoch") == len(fitted.history_["epoch"]) - 1 > 0
    assert not recorder.is_open
    estimator.set_callbacks()
    assert "_callback_fit_ctx" not in vars(fitted)


STEPS = {
    "CKNFeatures": ["layer 0", "layer 1"],
    "CKNClassifier": [
        "whitening, mirror images, normalization",
        "layer 0",
        "layer 1",
        "features of the training images",
        "head",
    ],
}
STEPS["CKNRegressor"] = STEPS["CKNClassifier"]
STEPS["SupervisedCKNClassifier"] = [
    *STEPS["CKNClassifier"],
    "start of the training",
    "head of the best epoch",
]


def fit_quietly(estimator):
    """Fit without the warnings of small data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return estimator.fit(IMAGES, LABELS)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_every_step_is_printed(estimator, capsys):
    fit_quietly(clone(estimator))
    assert capsys.readouterr().out == ""
    name = type(estimator).__name__
    fit_quietly(clone(estimator).set_params(verbose=1))
    printed = capsys.readouterr().out.splitlines()
    lines = [line.partition("] ")[2] for line in printed if " ... " in line]
    steps = [line.partition(" ... ")[0] for line in lines]
    # The images may or may not be whitened.
    assert [step for step in steps if step != "whitening"] == STEPS[name]
    assert all(re.fullmatch(r"\[\w+\] .*\d\.\d s", line) for line in printed[:2])
    # With lines of the clustering in between, a step has two lines.
    fit_quietly(clone(estimator).set_params(verbose=2))
    printed = capsys.readouterr().out.splitlines()
    position = printed.index("[CKNFeatures] layer 1 ...")
    assert printed[position + 1].startswith("k-means iteration 1")
    end = next(
        line for line in printed[position:] if line.startswith("[CKNFeatures] layer 1:")
    )
    assert re.search(r"4 anchors of 27 values .*, \d+\.\d s$", end)


@needs_callbacks
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_callbacks_are_told_of_the_printed_steps(estimator):
    recorder = Recorder()
    fit_quietly(clone(estimator).set_callbacks(recorder))
    begun = [task for _, task in recorder.begun]
    steps = STEPS[type(estimator).__name__]
    assert [task for task in begun if task in steps] == steps


def test_whitening_and_branches_are_steps(capsys):
    CKNFeatures((3, 4), whitening=0.25, verbose=1).fit(IMAGES)
    assert capsys.readouterr().out.startswith("[CKNFeatures] whitening ... 0.")
    branches = [{"patch_size": 2}, {"patch_size": 3}]
    CKNFeatures((3,), branches=branches, verbose=1).fit(IMAGES)
    printed = capsys.readouterr().out
    for i in range(2):
        assert f"[CKNFeatures] branch {i}, layer 0 ... 3 anchors" in printed
        assert f"[CKNFeatures] branch {i}, scale of the features ... " in printed


def test_the_line_of_a_step_that_fails_ends(capsys):
    task = Task(CKNFeatures(verbose=1))
    with pytest.raises(KeyError), task.step("part"):
        raise KeyError
    assert capsys.readouterr().out == "[CKNFeatures] part ... \n"


@needs_callbacks
def test_an_interrupted_step(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    recorder = Recorder()
    estimator = CKNClassifier((3, 4), random_state=0, verbose=1)
    monkeypatch.setattr("sklearn_ckn._learning.layers.cluster_patches", interrupt)
    with pytest.raises(KeyboardInterrupt):
        estimator.set_callbacks(recorder).fit(IMAGES[:40], LABELS[:40])
    assert ("CKNFeatures", "layer 0") in recorder.begun
    assert not recorder.is_open
    assert capsys.readouterr().out.endswith("[CKNFeatures] layer 0 ... \n")


@needs_callbacks
def test_a_callback_can_stop_the_training():
    estimator = SupervisedCKNClassifier((3, 4), n_epochs=9, random_state=0)
    estimator.set_callbacks(Recorder(stop_after=2)).fit(IMAGES, LABELS)
    assert estimator.history_["epoch"] == [0, 1, 2]
    assert estimator.n_iter_ == 2
    assert estimator.predict(IMAGES).shape == (60,)


@needs_callbacks
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_callbacks_are_closed_after_errors(estimator):
    recorder = Recorder()
    estimator.set_callbacks(recorder)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.full_like(IMAGES, np.nan), LABELS)
    estimator.set_callbacks()
    assert not recorder.is_open


@needs_callbacks
def test_scores_of_every_epoch():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    estimator = SupervisedCKNClassifier((3, 4), n_epochs=3, random_state=0)
    seen = []

    class Fitted(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            if isinstance(fitted_estimator, SupervisedCKNClassifier):
                seen.append((context.task_name, fitted_estimator, X, y))

    estimator.set_callbacks(monitor, Fitted()).fit(IMAGES, LABELS)
    assert [name for name, *_ in seen] == ["epoch"] * 3 + ["fit"]
    assert [fitted.n_iter_ for _, fitted, *_ in seen] == [1, 2, 3, 3]
    for _, fitted, X, y in seen:
        assert 0.5 < fitted.score(X, y) <= 1
        assert fitted.predict_proba(X).shape == (60, 2)
    first, last = seen[0][1].features_.anchors_[0], seen[2][1].features_.anchors_[0]
    assert np.abs(first - last).max() > 0
    estimator.set_callbacks()


@needs_callbacks
def test_in_a_pipeline_and_a_search():
    recorder = Recorder()
    classifier = CKNClassifier((3, 4), random_state=0)
    pipeline = make_pipeline(PatchWhitening(), classifier)
    search = GridSearchCV(pipeline, {"cknclassifier__beta": [1.0, 2.0]}, cv=2)
    with pytest.warns(UserWarning, match="PatchWhitening does not support"):
        search.set_callbacks(recorder).fit(IMAGES, LABELS)
    assert ("CKNFeatures", "layer 0") in recorder.begun
    assert sorted(recorder.begun) == sorted(recorder.ended)


@needs_callbacks
def test_progress_bar():
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    for estimator in ESTIMATORS:
        estimator.set_callbacks(ProgressBar(max_propagation_depth=None))
        estimator.fit(IMAGES, LABELS)
        estimator.set_callbacks()


def test_tasks_without_callbacks():
    task = Task()
    assert list(task.each("block", [1, 2])) == [1, 2]
    for item in task.each("block", [1, 2]):
        assert item == 1
        break
    with task.subtask("part") as part, part.fit_by(None, "fit"):
        part.end()
    assert not part.was_stopped
