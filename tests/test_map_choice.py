"""Whitening and normalization in the network, and their choice by held-out images."""

from dataclasses import replace

import numpy as np
import pytest
from counting import count_calls
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklearn_ckn import (
    CKNClassifier,
    CKNRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._heads.held_out_losses import sample_rows
from sklearn_ckn._learning import map_choice
from sklearn_ckn._learning.map_choice import (
    MapCandidate,
    MapQuestion,
    compare,
)

NETWORK = {"n_anchors": (8, 12), "n_patches": 2000, "random_state": 0}
DIGITS = load_digits()
PLAIN = MapCandidate(None, False, 0.5)


def gratings(n, rng, *, mirrored):
    """Images of faint diagonal stripes on a bright ground, and their direction.

    With ``mirrored``, the class is the width of the stripes, of either direction.
    """
    rows, columns = np.mgrid[:10, :10]
    labels = np.arange(n) % 2
    signs = np.where(labels == 1, 1, -1)
    widths = np.full(n, 3)
    if mirrored:
        signs, widths = rng.choice([-1, 1], n), np.where(labels == 1, 3, 5)
    phases = rng.uniform(0, 2 * np.pi, n)
    angles = 2 * np.pi * (rows + signs[:, None, None] * columns)
    stripes = np.sin(angles / widths[:, None, None] + phases[:, None, None])
    ground = rng.uniform(50, 200, (n, 1, 1)) + rng.uniform(-6, 6, (n, 1, 1)) * rows
    noise = rng.randn(n, 10, 10)
    return (ground + stripes + 0.7 * noise).astype(np.float32), labels


def candidates_of(whitening, flip_average, normalize, shape=(8, 8, 1)):
    return MapQuestion(whitening, flip_average, normalize).candidates(shape)


class TestCandidates:
    @pytest.mark.parametrize(("normalize", "expected"), [("auto", 0.5), (0.0, 0.0)])
    def test_all(self, normalize, expected):
        # Other powers of the normalization are tried afterwards.
        assert candidates_of("auto", "auto", normalize) == [
            MapCandidate(power, flip, expected)
            for flip in (False, True)
            for power in (None, 0.0, 0.25)
        ]

    @pytest.mark.parametrize("shape", [(1, 8, 3), (8, 1, 3)])
    def test_signals_are_not_mirrored(self, shape):
        candidates = candidates_of("auto", "auto", 0.0, shape)
        assert not any(each.flip_average for each in candidates)
        # Unless it is asked for.
        asked = candidates_of(None, True, 0.0, shape)
        assert asked == [MapCandidate(None, True, 0.0)]

    def test_what_is_given_is_not_chosen(self):
        given = candidates_of(0.1, False, 1.0)
        assert given == [MapCandidate(0.1, False, 1.0)]
        assert len(candidates_of("auto", True, 0.0)) == 3
        assert len(candidates_of(None, "auto", 0.0)) == 2


class TestCompare:
    candidates = tuple(replace(PLAIN, whitening=each) for each in (None, 0.0, 0.25))

    def choose(self, losses, units=None):
        losses = np.array(losses, dtype=float)
        n = losses.shape[1]
        units = np.arange(n) if units is None else units
        return compare(self.candidates, losses, np.ones(n), units)

    def test_the_plainest_within_a_standard_error(self):
        n = 100
        worse, as_good = np.zeros((2, n))
        # Differences of 1 in k of n images have the mean k / n and the standard error
        # sqrt(k / n (1 - k / n) / (n - 1)), smaller for k = 2 and the same for k = 1.
        worse[:2] = 1
        as_good[:1] = 1
        choice = self.choose([worse, as_good, np.zeros(n)])
        assert choice.chosen == self.candidates[1]
        assert_allclose(choice.results["loss"], [0.02, 0.01, 0])
        assert_allclose(choice.results["excess"], [0.02, 0.01, 0])
        errors = np.sqrt(np.array([0.02 * 0.98, 0.01 * 0.99, 0]) / (n - 1))
        assert_allclose(choice.results["excess_error"], errors)

    def test_the_error_is_that_of_the_difference(self):
        # Both are wrong on half of the images, one on five more.
        losses = np.zeros((3, 100))
        losses[:, :50] = 1
        losses[0, 50:55] = 1
        assert self.choose(losses).chosen == self.candidates[1]

    def test_units_count_as_one(self):
        losses = np.zeros((3, 100))
        losses[0, :5] = 1
        assert self.choose(losses).chosen == self.candidates[1]
        # Five images of one unit are one observation.
        units = np.arange(100) // 5
        assert self.choose(losses, units).chosen == PLAIN

    def test_weights(self):
        losses = np.zeros((3, 4))
        losses[0, 0] = losses[1, 1] = 1
        weights = np.array([1e-3, 1, 1, 1])
        results = compare(self.candidates, losses, weights, np.arange(4)).results
        assert_allclose(results["loss"], [1e-3 / 3.001, 1 / 3.001, 0])

    def test_candidates_that_cannot_be_computed(self):
        losses = np.zeros((3, 100))
        losses[0] = np.nan
        assert self.choose(losses).chosen == self.candidates[1]
        assert self.choose(np.full((3, 1), np.nan)).chosen == PLAIN


class TestChoice:
    def test_mirror_images_where_direction_is_the_class(self):
        rng = np.random.RandomState(0)
        model = CKNClassifier(**NETWORK, whitening=0.0, normalize=0.0)
        directions = clone(model).fit(*gratings(200, rng, mirrored=False))
        assert directions.flip_average_ is False
        results = directions.map_results_
        assert_array_equal(results["flip_average"], [False, True])
        assert_array_equal(results["normalize"], [0, 0])
        # Without directions half of the labels are right.
        assert results["loss"][1] > 0.3 > results["loss"][0]
        widths = clone(model).fit(*gratings(200, rng, mirrored=True))
        assert results["loss"].shape == (2,)
        assert widths.map_results_["loss"][1] <= widths.map_results_["loss"][0] + 0.05

    def test_whitening_where_the_ground_hides_the_class(self):
        images, labels = gratings(200, np.random.RandomState(0), mirrored=False)
        model = CKNClassifier(**NETWORK).fit(images, labels)
        assert model.whitening_ in (0.0, 0.25)
        assert model.features_.whitening == model.whitening_
        fixed = clone(model).set_params(
            whitening=model.whitening_,
            flip_average=model.flip_average_,
            normalize=model.normalize_,
        )
        # The choice does not change the fit that follows.
        assert_array_equal(
            fixed.fit(images, labels).decision_function(images),
            model.decision_function(images),
        )

    def test_normalization_where_contrast_hides_the_class(self):
        rng = np.random.RandomState(0)
        images, labels = gratings(160, rng, mirrored=False)
        images -= images.mean(axis=(1, 2), keepdims=True)
        images *= np.exp(3 * rng.randn(160, 1, 1)).astype("f4")
        model = CKNClassifier(**NETWORK).fit(images, labels)
        assert model.normalize_ == model.features_.normalize == 1
        results = model.map_results_
        assert_array_equal(results["normalize"], [0.5] * 6 + [0, 1])
        assert results["loss"][7] < results["loss"][:7].min()

    def test_regression(self):
        images, labels = gratings(200, np.random.RandomState(0), mirrored=False)
        model = CKNRegressor(**NETWORK).fit(images, labels.astype(float))
        assert model.whitening_ in (0.0, 0.25)
        losses = model.map_results_["loss"]
        # The loss is 1 - R2.
        assert losses.min() < 0.6 < losses[0]

    @pytest.mark.parametrize("head", ["linear_svm", "logistic"])
    def test_other_heads(self, head):
        images, labels = gratings(120, np.random.RandomState(0), mirrored=False)
        ridge = CKNClassifier(**NETWORK).fit(images, labels)
        other = CKNClassifier(**NETWORK, head=head, alpha=1e-3).fit(images, labels)
        assert_array_equal(other.map_results_["loss"], ridge.map_results_["loss"])

    def test_groups_are_held_out_together(self):
        # Each group has a ground of its own, by which its images are recognised, and
        # one random label: only images of the same group predict it.
        rng = np.random.RandomState(0)
        groups = np.repeat(np.arange(20), 6)
        patterns = rng.randn(20, 8, 8)
        labels = (np.arange(20) % 2)[groups]
        images = patterns[groups] + 0.1 * rng.randn(120, 8, 8)
        model = CKNClassifier(**NETWORK)
        alone = clone(model).fit(images, labels).map_results_
        together = clone(model).fit(images, labels, groups=groups).map_results_
        assert alone["loss"].max() < 0.05
        assert together["loss"].min() > 0.25

    def test_images_of_weight_zero_are_left_out(self):
        images, labels = DIGITS.images[:120], DIGITS.target[:120]
        weights = (np.arange(120) % 2).astype(float)
        model = CKNClassifier(**NETWORK)
        weighted = clone(model).fit(images, labels, weights).map_results_
        half = clone(model).fit(images[1::2], labels[1::2]).map_results_
        assert_array_equal(weighted["loss"], half["loss"])

    def test_few_images_get_the_plainest(self):
        model = CKNClassifier(**NETWORK).fit(DIGITS.images[:49], DIGITS.target[:49])
        assert (model.whitening_, model.flip_average_) == (None, False)
        assert model.normalize_ == 0.5
        assert model.map_results_ is None

    def test_the_sample_has_all_classes(self):
        positions = np.r_[np.zeros(5000, int), 1, 2]
        rows = sample_rows(5002, 100, np.random.RandomState(0), positions)
        assert len(rows) == 100
        assert_array_equal(np.unique(positions[rows]), [0, 1, 2])
        assert_array_equal(rows, np.unique(rows))

    def test_a_sample_of_many_images(self, monkeypatch):
        monkeypatch.setattr(map_choice, "FEW_IMAGES", 10)
        monkeypatch.setattr(map_choice, "MANY_IMAGES", 100)
        images, labels = gratings(300, np.random.RandomState(0), mirrored=False)
        losses = [
            CKNClassifier(**{**NETWORK, "random_state": seed})
            .fit(images, labels)
            .map_results_["loss"]
            for seed in (0, 0, 1)
        ]
        # Shares of 100 images, the same ones with the same seed.
        assert_allclose(100 * losses[0], np.round(100 * losses[0]), atol=1e-9)
        assert_array_equal(losses[0], losses[1])
        assert (losses[0] != losses[2]).any()

    def test_values_near_the_largest_number(self):
        images, labels = gratings(100, np.random.RandomState(0), mirrored=False)
        # The bound on the growth of features is 9, and 16 with the power 0: the largest
        # row sum of the matrix that centres patches is 16 / 9.
        images *= np.float32(1.7e37 / images.max())
        results = CKNClassifier(**NETWORK).fit(images, labels).map_results_
        assert_array_equal(np.isnan(results["loss"]), results["whitening"] == 0.0)

    def test_images_that_are_not_copied(self):
        # With little memory, whitened images are computed whenever they are needed.
        images, labels = gratings(150, np.random.RandomState(0), mirrored=True)
        model = CKNClassifier(**NETWORK)
        expected = clone(model).fit(images, labels).map_results_["loss"]
        with config_context(working_memory=0.1):
            found = clone(model).fit(images, labels).map_results_["loss"]
        assert_array_equal(found, expected)

    def test_blank_images(self):
        images = np.zeros((60, 6, 6))
        with pytest.warns(UserWarning, match="distinct patches"):
            model = CKNClassifier(**NETWORK).fit(images, np.arange(60) % 2)
        assert (model.whitening_, model.flip_average_) == (None, False)

    def test_the_memory_keeps_it(self, tmp_path, monkeypatch):
        images, labels = DIGITS.images[:100], DIGITS.target[:100]
        model = CKNClassifier(**NETWORK, memory=tmp_path)
        expected = clone(model).fit(images, labels)
        learned = count_calls(monkeypatch, map_choice, "learn_network")
        again = clone(model).set_params(head="linear_svm", alpha=1e-3)
        again.fit(images, labels)
        assert learned == []
        assert_array_equal(again.map_results_["loss"], expected.map_results_["loss"])
        clone(model).fit(images, np.roll(labels, 1))
        assert len(learned) > 0

    def test_verbose(self, capsys):
        CKNClassifier(**NETWORK, verbose=1).fit(DIGITS.images[:80], DIGITS.target[:80])
        text = "whitening, mirror images, normalization ... whitening="
        assert text in capsys.readouterr().out

    def test_a_second_fit_keeps_the_choice(self):
        images, labels = DIGITS.images[:200], DIGITS.target[:200]
        model = SupervisedCKNClassifier(**NETWORK, n_epochs=1, warm_start=True)
        model.fit(images, labels)
        chosen = model.whitening_, model.flip_average_
        model.fit(images, labels)
        assert (model.whitening_, model.flip_average_) == chosen
        model.set_params(whitening=0.1)
        with pytest.raises(ValueError, match="warm_start=True goes on"):
            model.fit(images, labels)
