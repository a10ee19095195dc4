"""Heads that never have the features of all images in memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklearn_ckn import CKNClassifier, CKNRegressor, LinearPathClassifier
from sklearn_ckn._common import cache_blocks
from sklearn_ckn._heads import left_out
from sklearn_ckn._heads.classification import ClassifierSamples
from sklearn_ckn._heads.left_out import scored_positions
from sklearn_ckn._heads.moments import Origin
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._heads.summed import FeatureSource, SummedFeatures
from sklearn_ckn._learning import training_features

DIGITS = load_digits()
# Some images are repeated: the head merges them.
ROWS = np.r_[np.arange(400), np.arange(30)]
IMAGES, LABELS = DIGITS.images[ROWS], DIGITS.target[ROWS]
RNG = np.random.RandomState(0)
ARGUMENTS = {
    "plain": {},
    "weights": {"sample_weight": RNG.randint(3, size=len(ROWS))},
    "groups": {"groups": RNG.randint(60, size=len(ROWS))},
}


def make(kind=CKNClassifier, **parameters):
    return kind((6, 8), n_patches=2000, random_state=0, **PLAIN | parameters)


class Rows(FeatureSource):
    """Rows of an array, which are counted when they are read."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.n_read = 0

    def __getitem__(self, rows):
        read = self.values[rows]
        self.n_read += len(read)
        return read

    def take(self, positions):
        return Rows(self.values[positions])


def test_gram_matrix_of_several_blocks(monkeypatch):
    # Of rows, and of columns that threads share.
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 5000)
    monkeypatch.setattr(cache_blocks, "CACHE_BLOCK_VALUES", 10_000)
    n, d = 300, 150
    rng = np.random.RandomState(0)
    values, weights = rng.randn(n, d), rng.uniform(0.5, 2, size=n)
    features = SummedFeatures.from_source(values, np.zeros((n, 1)), weights, None)
    weighted = weights[:, np.newaxis] / weights.sum()
    centred = values - np.sum(weighted * values, axis=0)
    expected = (weighted * centred).T @ centred
    expected /= expected.trace()
    # Sums of n products whose absolute values add up to at most 1, and their trace.
    tolerance = 2 * n * np.finfo(np.float64).eps
    actual = np.tril(features.gram())
    assert_allclose(actual, np.tril(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("kind", [CKNClassifier, CKNRegressor])
def test_the_result_is_that_of_features_in_memory(kind, arguments, monkeypatch):
    # Several blocks.
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 5000)
    held, streamed = (
        make(kind, streaming=streaming).fit(IMAGES, LABELS, **ARGUMENTS[arguments])
        for streaming in (False, True)
    )
    assert held.alpha_ == streamed.alpha_
    assert held.alpha_scoring_ == streamed.alpha_scoring_
    # The same products of the same blocks.
    for name in ("coef_", "intercept_", "alpha_scores_"):
        assert_allclose(getattr(streamed, name), getattr(held, name), rtol=1e-10)
    if kind is CKNClassifier:
        assert_allclose(streamed.temperature_, held.temperature_, rtol=1e-10)
    else:
        actual, expected = (
            each.predict(IMAGES[:9], return_std=True) for each in (streamed, held)
        )
        assert_allclose(actual, expected, rtol=1e-10)


@pytest.mark.parametrize("streaming", [True, "auto"])
def test_features_are_read_twice(streaming, monkeypatch):
    read = []
    getitem = training_features.EncodedImages.__getitem__

    def counting(self, rows):
        values = getitem(self, rows)
        read.append(len(values))
        return values

    monkeypatch.setattr(training_features.EncodedImages, "__getitem__", counting)
    images, labels = IMAGES[:400], LABELS[:400]
    # 400 images of 32 features take 100 KiB.
    monkeypatch.setattr(training_features, "free_memory_bytes", lambda: 200_000)
    make(streaming=streaming, alpha=[1e-3, 1e-5]).fit(images, labels)
    # First some rows that are spread over all of them.
    assert read[0] < 300
    assert sum(read[1:]) == 2 * 400
    read.clear()
    monkeypatch.setattr(training_features, "free_memory_bytes", lambda: 2**40)
    make().fit(images, labels)
    make(streaming=False).fit(images, labels)
    assert not read


@pytest.mark.parametrize("n_repeated", [1, 2])
def test_more_features_than_images(n_repeated):
    """32 features of 30 images, or of 60 that are 30 once equal ones are merged."""
    rows = np.arange(30 * n_repeated) % 30
    held, streamed = (
        make(streaming=streaming).fit(IMAGES[rows], LABELS[rows])
        for streaming in (False, True)
    )
    assert held.alpha_ == streamed.alpha_
    assert_allclose(streamed.coef_, held.coef_, rtol=1e-10)


def test_other_heads_read_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(training_features, "free_memory_bytes", lambda: 1000)
    for head in ("linear_svm", "logistic"):
        model = make(head=head, alpha=[1e-3, 1e-4])
        with pytest.raises(ValueError, match=r"head '.*memory=folder.*streaming=False"):
            clone(model).set_params(head=head).fit(IMAGES, LABELS)
        expected = clone(model).set_params(streaming=False).fit(IMAGES, LABELS)
        actual = clone(model).set_params(memory=tmp_path).fit(IMAGES, LABELS)
        assert_allclose(actual.coef_, expected.coef_, rtol=1e-6, atol=1e-9)
    left = [name for _, _, names in os.walk(tmp_path) for name in names]
    assert not [name for name in left if name.startswith("features-")]


def test_a_memory_without_a_folder(monkeypatch):
    class Cache:
        def cache(self, function, ignore):
            return function

    model = make(head="linear_svm", alpha=1e-3, memory=Cache(), streaming=True)
    with pytest.raises(ValueError, match="memory=folder"):
        model.fit(IMAGES, LABELS)


def test_heads_that_still_fit_need_no_folder(monkeypatch):
    # More than half of the free memory, but not all of it: as before.
    monkeypatch.setattr(training_features, "free_memory_bytes", lambda: 150_000)
    make(head="linear_svm", alpha=1e-3).fit(IMAGES, LABELS)


#: A fit in a process that may not write long files, as on a disk that is full.
FULL = """
import resource, sys, warnings
import numpy as np
from test_streaming import IMAGES, LABELS, make

model = make(head="linear_svm", alpha=1e-3, memory=sys.argv[1], streaming=True)
model.fit(IMAGES, LABELS)
before = model.decision_function(IMAGES)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
# Of the anchors, which the memory cannot store either.
warnings.simplefilter("ignore", UserWarning)
try:
    model.fit(IMAGES[:-1], LABELS[:-1])
except OSError:
    print(np.array_equal(model.decision_function(IMAGES), before))
"""


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_is_an_error_and_the_earlier_fit_stays(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_sums_of_one_reading(dtype, unit, monkeypatch):
    """Mean, scale, Gram matrix and products are those of several readings."""
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 150)
    values = (RNG.randn(90, 7) * np.r_[:7] + 30).astype(dtype) * np.dtype(dtype).type(
        unit
    )
    # The first block is much smaller than the others.
    values[:10, 1:] *= 1e-3
    targets, weights = RNG.randn(90, 3), RNG.rand(90)
    source = Rows(values)
    summed = SummedFeatures.from_source(source, targets, weights, None)
    expected = StandardizedFeatures.from_values(values, weights)
    # Sums of 90 rows, in products of the dtype; means are 10 times the deviations.
    tolerance = {"rtol": 3e3 * np.finfo(dtype).eps, "atol": 30 * np.finfo(dtype).eps}
    assert_array_equal(summed.varying, [False] + 6 * [True])
    assert_array_equal(expected.varying, summed.varying)
    assert_allclose(summed.original_scale, expected.original_scale, **tolerance)
    assert_allclose(np.tril(summed.gram()), np.tril(expected.gram()), **tolerance)
    intercept = summed.weights @ targets / 90
    assert_allclose(
        summed.target_products(targets, intercept),
        expected.target_products(targets, intercept),
        rtol=tolerance["rtol"],
        atol=90 * tolerance["atol"],
    )


def test_another_unit_in_later_rows():
    """Rows are read again if their unit does not fit the first ones'."""
    values = np.ones((3000, 4)) * RNG.rand(3000, 4)
    # Not those at the beginning, which are read first.
    values[100:200] *= 1e200
    source = Rows(values)
    targets = RNG.randn(3000, 1)
    Origin.of_features(source, np)
    n_first, source.n_read = source.n_read, 0
    assert n_first < 300
    summed = SummedFeatures.from_source(source, targets, np.ones(3000), None)
    expected = StandardizedFeatures.from_values(values, np.ones(3000))
    assert source.n_read == 2 * (n_first + 3000)
    assert_allclose(summed.original_scale, expected.original_scale, rtol=1e-12)
    assert_allclose(np.tril(summed.gram()), np.tril(expected.gram()), atol=1e-13)


def test_many_samples_are_scored_in_part(monkeypatch):
    monkeypatch.setattr(left_out, "MOST_SCORED", 150)
    assert scored_positions(150) is None
    chosen = scored_positions(1000)
    assert len(chosen) == 150
    assert (np.diff(chosen) > 0).all()
    assert chosen.max() > 850
    rng = np.random.RandomState(0)
    labels = rng.randint(3, size=1000)
    features = rng.randn(1000, 5) + rng.randn(3, 5)[labels]
    alphas = np.array([1e-2, 1e-4])

    def fit():
        weights = np.ones(1000)
        return ClassifierSamples.prepare(
            features, labels, weights, loss="ridge", alphas=alphas
        ).fit()

    fitted = fit()
    monkeypatch.undo()
    every = fit()
    assert (fitted.n_scored, every.n_scored) == (150, 1000)
    # Three standard errors of the share of 150.
    assert_allclose(fitted.scores, every.scores, atol=3 * (0.25 / 150) ** 0.5)
    counts = 150 * fitted.scores
    assert_allclose(counts, np.round(counts), atol=1e-9)


@pytest.mark.parametrize("groups", [None, np.arange(1500)])
def test_number_of_scored_samples(groups, monkeypatch):
    monkeypatch.setattr(left_out, "MOST_SCORED", 200)
    rng = np.random.RandomState(0)
    labels = rng.randint(2, size=1500)
    features = rng.randn(1500, 3) + labels[:, np.newaxis]
    model = LinearPathClassifier().fit(features, labels, groups=groups)
    # Five folds of groups, each of 300.
    assert model.alpha_n_samples_ == (200 if groups is None else 1000)
    model = LinearPathClassifier("logistic", alpha=[1, 0.1]).fit(features, labels)
    assert model.alpha_n_samples_ == 1500


def test_predictions_are_kept_or_computed_again():
    kept = make().fit(IMAGES, LABELS)
    with config_context(working_memory=0.1):
        again = make(streaming=True).fit(IMAGES, LABELS)
    assert kept.alpha_ == again.alpha_
    assert_allclose(kept.temperature_, again.temperature_, rtol=1e-6)
