"""Whitening and normalization as parts of a network."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklearn_ckn import (
    CKNFeatures,
    PatchWhitening,
    SupervisedCKNClassifier,
)
from sklearn_ckn._engine.cpu import CPUEngine

NETWORK = {"n_anchors": (8, 12), "n_patches": 2000, "random_state": 0}
DIGITS = load_digits()


class TestNormalization:
    @pytest.mark.filterwarnings("ignore:X seems to be in other units")
    @pytest.mark.parametrize("power", [0.5, 1])
    @pytest.mark.parametrize("flip_average", [False, True])
    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_features_over_a_power_of_their_norm(self, power, flip_average, dtype):
        images = DIGITS.images[:60].astype(dtype)
        images[0] = 0
        options = {"whitening": 0.25, "flip_average": flip_average}
        features = CKNFeatures(**NETWORK, **options).fit(images)
        plain = features.transform(images).astype("f8")
        normalized = clone(features).set_params(normalize=power).fit(images)
        found = normalized.transform(images)
        norms = np.linalg.norm(plain, axis=1, keepdims=True)
        norms[0] = 1
        # Rounded: the plain features, the power and its two products.
        rtol = 4 * np.finfo(dtype).eps
        assert_allclose(found, plain / norms**power, rtol=rtol, atol=1e-30)
        assert_array_equal(found[0], 0)
        assert_array_equal(normalized.transform(images[3:4]), found[3:4])
        # A power of four is exact in its square root as well.
        for exponent in (-100, 20):
            scaled = normalized.transform(np.ldexp(images, exponent))
            expected = np.ldexp(found, int((1 - power) * exponent))
            assert_array_equal(scaled, expected)

    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("flip_average", [False, True])
    def test_gradients(self, power, flip_average):
        rng = np.random.RandomState(0)
        images = rng.randn(5, 6, 7, 2)
        images[1] = 0
        features = CKNFeatures((3, 4), n_patches=200, random_state=0)
        features.set_params(normalize=power, flip_average=flip_average).fit(images)
        network, engine = features._network, CPUEngine()
        weights = rng.randn(5, network.n_features)

        def value(layers):
            changed = replace(network, layers=layers)
            encoder = engine.bind(changed, np.dtype("f8"))
            return (encoder.features(images) * weights).sum()

        encoder = engine.bind(network, np.dtype("f8"))
        forward = encoder.forward(images)
        assert_array_equal(forward.features, encoder.features(images))
        gradients = encoder.backward(forward, weights, 1.0)
        for i, (layer, gradient) in enumerate(
            zip(network.layers, gradients, strict=True)
        ):
            # Projections are symmetric.
            direction = rng.randn(*layer.projection.shape)
            direction += direction.T
            step = 1e-6
            pair = []
            for sign in (-1, 1):
                moved = layer.projection + sign * step * direction
                layers = list(network.layers)
                layers[i] = replace(layer, projection=moved)
                pair.append(value(tuple(layers)))
            expected = (pair[1] - pair[0]) / (2 * step)
            # Central differences: errors of step^2 and of rounding over the step.
            found = (gradient.projection * direction).sum()
            assert_allclose(found, expected, rtol=1e-6, atol=1e-8)

    def test_supervised_training(self):
        images, labels = DIGITS.images[:200], DIGITS.target[:200]
        options = {"n_epochs": 3, "early_stopping": False, "alpha": 1e-2}
        model = SupervisedCKNClassifier(**NETWORK, **options, normalize=1)
        model.set_params(whitening=0.25, flip_average=False).fit(images, labels)
        norms = np.linalg.norm(model.features_.transform(images), axis=1)
        assert_allclose(norms, 1, rtol=1e-12)
        objectives = model.history_["objective"]
        assert objectives[model.best_epoch_] < objectives[0]


class TestWhiteningInTheNetwork:
    @pytest.mark.parametrize("flip_average", [False, True])
    @pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
    @pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
    def test_equals_the_transformer_before_it(self, power, flip_average, dtype):
        images = DIGITS.images[:150].astype(dtype)
        whitened = PatchWhitening(power=power).fit_transform(images)
        network = CKNFeatures(**NETWORK, flip_average=flip_average)
        expected = network.fit_transform(whitened)
        inside = clone(network).set_params(whitening=power).fit(images)
        for mine, other in zip(inside.anchors_, network.anchors_, strict=True):
            assert_array_equal(mine, other)
        assert_array_equal(inside.transform(images), expected)
        # One image at a time, and from a pickle.
        again = pickle.loads(pickle.dumps(inside))
        assert_array_equal(again.transform(images[:1]), expected[:1])

    def test_signals_and_channels(self):
        rng = np.random.RandomState(0)
        for shape in [(60, 1, 30), (60, 30, 1), (60, 1, 1, 4), (60, 7, 5, 2)]:
            images = rng.randn(*shape)
            whitened = PatchWhitening().fit_transform(images)
            expected = CKNFeatures(**NETWORK).fit_transform(whitened)
            found = CKNFeatures(**NETWORK, whitening=0.25).fit_transform(images)
            assert_array_equal(found, expected)

    def test_supervised_training(self):
        images, labels = DIGITS.images[:200].astype("f4"), DIGITS.target[:200]
        options = {"n_epochs": 2, "augment": "shift", "flip_average": False}
        model = SupervisedCKNClassifier(**NETWORK, **options, whitening=0.25)
        other = clone(model).set_params(whitening=None)
        whitened = PatchWhitening().fit_transform(images)
        model.fit(images, labels)
        other.fit(whitened, labels)
        # The same numbers go through the same operations.
        assert_allclose(
            model.decision_function(images),
            other.decision_function(whitened),
            rtol=0,
            atol=1e-6,
        )
        assert_allclose(model.history_["objective"], other.history_["objective"])
        assert model.whitening_ == 0.25
        assert model.features_.get_params()["whitening"] == 0.25

    def test_large_values_are_refused(self):
        images = np.random.RandomState(0).randn(60, 6, 6).astype("f4")
        # Whitened with the power 0, a centred patch is up to twice as large.
        features = CKNFeatures(**NETWORK, whitening=0.0).fit(images)
        with pytest.raises(ValueError, match="divide X by a constant"):
            features.transform(images * np.float32(1e38 / abs(images).max()))

    def test_features_have_nothing_to_choose_by(self):
        for name in ("whitening", "flip_average"):
            with pytest.raises(ValueError, match=name):
                CKNFeatures(**{name: "auto"}).fit(DIGITS.images)
