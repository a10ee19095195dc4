"""TrainingDisplay."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_ckn import SupervisedCKNClassifier, TrainingDisplay

IMAGES = np.random.RandomState(0).randn(200, 5, 5)
LABELS = np.arange(200) % 2


def fit(**parameters):
    estimator = SupervisedCKNClassifier(3, n_epochs=2, random_state=0, **parameters)
    return estimator.fit(IMAGES, LABELS)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_curves(early_stopping, pyplot):
    estimator = fit(early_stopping=early_stopping)
    display = TrainingDisplay.from_estimator(estimator)
    assert len(display.axes_) == 1 + early_stopping
    assert display.figure_ is display.axes_[0].figure
    line = display.axes_[0].get_lines()[0]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == estimator.history_["objective"]
    if early_stopping:
        scores = list(display.axes_[1].get_lines()[0].get_ydata())
        assert scores == estimator.history_["validation_score"]
    marks = [line.get_label() for line in display.axes_[0].get_lines()]
    assert "kept" in marks


def test_given_axes(pyplot):
    estimator = fit()
    _, axes = pyplot.subplots(1, 3)
    display = TrainingDisplay.from_estimator(estimator, axes=axes)
    assert list(display.axes_) == list(axes[:2])
    with pytest.raises(ValueError, match="axes must hold 2"):
        TrainingDisplay.from_estimator(estimator, axes=axes[0])


def test_errors(monkeypatch):
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(SupervisedCKNClassifier())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"sklearn-ckn\[plot\]"):
        TrainingDisplay(fit().history_).plot()
