"""A supervised training that was interrupted goes on, and ends with the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from plain_map import PLAIN

from sklearn_ckn import SupervisedCKNClassifier
from sklearn_ckn._training.checkpoints import Checkpoints
from sklearn_ckn._training.objective import Objective

IMAGES = np.random.RandomState(0).rand(120, 7, 6, 2)
LABELS = np.arange(120) % 3
N_EPOCHS = 5
#: In an epoch of 108 images, since 12 are held out.
N_BATCHES = 7

#: Runs the fit of the arguments, and is killed at a moment of an epoch.
KILLED = """
import os, signal, sys
from test_checkpoints import IMAGES, LABELS, make
from sklearn_ckn._learning.checked_store import CheckedStoreBackend
from sklearn_ckn._training.checkpoints import Checkpoints

folder, moment, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3])
save, write = Checkpoints.save, CheckedStoreBackend._concurrency_safe_write

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def save_and_die(self, n_done, state):
    def write_and_die(self, to_write, filename, write_func):
        def write_half(to_write, temporary):
            write_func(to_write, temporary)
            with open(temporary, "r+b") as file:
                file.truncate(100)
            kill()
        is_entry = os.path.basename(filename) == "output.pkl"
        write(self, to_write, filename, write_half if is_entry else write_func)

    if n_done == epoch and moment == "before":
        kill()
    if n_done == epoch and moment == "writing":
        CheckedStoreBackend._concurrency_safe_write = write_and_die
    save(self, n_done, state)
    if n_done == epoch:
        kill()

Checkpoints.save = save_and_die
make(memory=folder).fit(IMAGES, LABELS)
"""


def make(**parameters):
    """Return a classifier whose training takes a moment."""
    defaults = {"n_epochs": N_EPOCHS, "batch_size": 16, "random_state": 0, **PLAIN}
    return SupervisedCKNClassifier((3, 4), **{**defaults, **parameters})


def assert_equal(left, right):
    assert left.n_iter_ == right.n_iter_
    assert left.best_epoch_ == right.best_epoch_
    for name in set(left.history_) - {"seconds"}:
        assert_array_equal(left.history_[name], right.history_[name])
    for pair in zip(left.features_.anchors_, right.features_.anchors_, strict=True):
        assert_array_equal(*pair)
    assert_array_equal(left.coef_, right.coef_)
    assert left.temperature_ == right.temperature_


@pytest.fixture
def batches(monkeypatch):
    """Return a list that grows with every batch that is trained on."""
    calls, gradients = [], Objective.gradients

    def counted(self, *arguments):
        calls.append(len(arguments[2]))
        return gradients(self, *arguments)

    monkeypatch.setattr(Objective, "gradients", counted)
    return calls


class StopError(Exception):
    """Raised in place of a kill."""


def stop_after(epoch, monkeypatch):
    """Make the training stop after an epoch has been stored."""
    save = Checkpoints.save

    def save_and_stop(self, n_done, state):
        save(self, n_done, state)
        if n_done == epoch:
            raise StopError

    monkeypatch.setattr(Checkpoints, "save", save_and_stop)


def interrupted(model, epoch, *, fit=(IMAGES, LABELS)):
    """Fit until an epoch has been stored."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(epoch, monkeypatch)
        with pytest.raises(StopError):
            model.fit(*fit)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a system without SIGKILL")
@pytest.mark.parametrize("moment", ["before", "writing", "after"])
def test_a_killed_training_goes_on(moment, tmp_path, batches):
    whole = make().fit(IMAGES, LABELS)
    n_batches = len(batches)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, moment, "3"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parent,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    batches.clear()
    assert_equal(make(memory=tmp_path).fit(IMAGES, LABELS), whole)
    left = N_EPOCHS - (3 if moment == "after" else 2)
    assert len(batches) == n_batches * left / N_EPOCHS


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"learn_beta": True, "head": "linear_svm", "augment": "flip+shift"},
        {"early_stopping": False},
        {"n_iter_no_change": 1, "n_epochs": 50, "learning_rate": 0.1},
    ],
)
def test_every_epoch_can_be_the_last(parameters, tmp_path, batches):
    whole = make(**parameters).fit(IMAGES, LABELS)
    model = make(memory=tmp_path, **parameters)
    n_entries = set()
    for epoch in range(1, whole.n_iter_ + 1):
        interrupted(model, epoch)
        n_entries.add(len(list(tmp_path.rglob("output.pkl"))))
    # Only the last state is kept.
    assert len(n_entries) == 1
    batches.clear()
    assert_equal(model.fit(IMAGES, LABELS), whole)
    # Nothing is left to train, nor in a fit that is repeated.
    assert not batches


def test_a_warm_start_goes_on(tmp_path, batches):
    first = make(warm_start=True).fit(IMAGES, LABELS)
    state = joblib.hash(first)
    whole = make(warm_start=True).fit(IMAGES, LABELS).fit(IMAGES, LABELS)
    first.set_params(memory=tmp_path)
    interrupted(first, 2)
    assert joblib.hash(first.set_params(memory=None)) == state
    batches.clear()
    assert_equal(first.set_params(memory=tmp_path).fit(IMAGES, LABELS), whole)
    assert len(batches) == 3 * N_BATCHES


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.02},
        {"n_epochs": N_EPOCHS + 1},
        {"random_state": 1},
        {"alpha": 0.1},
        {"nystrom_reg": 0.1},
        {"class_weight": {0: 2.0, 1: 1.0, 2: 1.0}},
        {"early_stopping": False},
    ],
)
def test_another_training_starts_anew(change, tmp_path, batches):
    interrupted(make(memory=tmp_path), 2)
    whole = make(**change).fit(IMAGES, LABELS)
    n_batches = len(batches)
    assert_equal(make(memory=tmp_path, **change).fit(IMAGES, LABELS), whole)
    assert len(batches) - n_batches == n_batches - 2 * N_BATCHES


def test_other_images_and_labels_start_anew(tmp_path, batches):
    interrupted(make(memory=tmp_path), 2)
    for fit in ((IMAGES + 1e-9, LABELS), (IMAGES, (LABELS + 1) % 3)):
        batches.clear()
        assert_equal(make(memory=tmp_path).fit(*fit), make().fit(*fit))
        assert len(batches) == 2 * N_EPOCHS * N_BATCHES


def test_other_steps_of_the_choice_of_alpha_go_on(tmp_path, batches):
    # The head is chosen after the training, which does not depend on the candidates.
    interrupted(make(memory=tmp_path, alpha=[0.01, 0.001]), N_EPOCHS)
    batches.clear()
    model = make(memory=tmp_path, alpha=[0.001, 0.01]).fit(IMAGES, LABELS)
    assert not batches
    assert model.n_iter_ == N_EPOCHS


def test_a_damaged_state_is_not_used(tmp_path, batches):
    whole = make().fit(IMAGES, LABELS)
    model = make(memory=tmp_path)
    interrupted(model, 2)
    newest = max(tmp_path.rglob("output.pkl"), key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    batches.clear()
    with pytest.warns(UserWarning, match="is damaged and is computed again"):
        model.fit(IMAGES, LABELS)
    assert len(batches) == N_EPOCHS * N_BATCHES
    assert_equal(model, whole)


@pytest.mark.parametrize("name", ["check_call_in_cache", "call_and_shelve"])
def test_a_memory_that_fails(name, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no such disk")

    whole = make().fit(IMAGES, LABELS)
    monkeypatch.setattr(joblib.memory.MemorizedFunc, name, fail)
    with pytest.warns(UserWarning, match="no such disk"):
        assert_equal(make(memory=tmp_path).fit(IMAGES, LABELS), whole)


def test_functions_that_augment_are_not_compared(tmp_path, batches):
    def augment(images, rng):
        return images

    model = make(memory=tmp_path, augment=augment)
    for _ in range(2):
        batches.clear()
        model.fit(IMAGES, LABELS)
        assert len(batches) == N_EPOCHS * N_BATCHES


def test_memory_mapped_entries_and_memories_without_a_search(tmp_path):
    whole = make().fit(IMAGES, LABELS)
    mapped = make(memory=joblib.Memory(tmp_path, mmap_mode="r", verbose=0))
    interrupted(mapped, 2)
    assert_equal(mapped.fit(IMAGES, LABELS), whole)

    class OnlyCache:
        def cache(self, function, **options):
            return function

    assert_equal(make(memory=OnlyCache()).fit(IMAGES, LABELS), whole)


def test_the_printed_line(tmp_path, capsys):
    interrupted(make(memory=tmp_path), 2)
    make(memory=tmp_path, verbose=1).fit(IMAGES, LABELS)
    lines = capsys.readouterr().out.splitlines()
    after = lines.index("[SupervisedCKNClassifier] goes on after epoch 2")
    assert "epoch 3: objective" in lines[after + 1]
