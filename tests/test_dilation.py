"""Patches with gaps: every ``dilation``-th pixel of a map."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from conftest import relative_error
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import backward, encode

from sklearn_ckn import CKNFeatures, SupervisedCKNClassifier
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.parameters import LARGEST_PATCH
from sklearn_ckn._network.settings import LayerSettings

EPS = np.finfo("f8").eps


def make_layer(shape, patch_size, dilation, **changes):
    """Return a layer with random anchors for maps of this shape."""
    settings = LayerSettings(6, patch_size, 1, "exp", 1.5, "same", 1e-2, dilation)
    settings = replace(settings, **changes)
    rows = np.random.RandomState(0).randn(6, settings.patch_length(shape))
    return Layer.from_anchors(settings, unit_rows(rows))


def test_sizes():
    same, valid = (
        LayerSettings(4, 4, 1, "exp", 1.0, padding, 1e-2, 3)
        for padding in ("same", "valid")
    )
    # 4 pixels with two between each: 10 of them.
    assert same.patch_span(12) == 10
    assert same.patch_shape((12, 1, 2)) == (4, 1)
    assert same.patch_length((12, 1, 2)) == 8
    assert same.span_length((12, 11, 2)) == 200
    assert same.pad_axis(12) == (4, 5)
    assert same.response_size(12) == 12
    assert valid.response_size(12) == 3
    # Padded to a single position.
    assert valid.pad_axis(7) == (1, 2)
    assert valid.response_size(7) == 1
    for settings in (same, valid):
        assert settings.patch_span(1) == 1
        assert settings.pad_axis(1) == (0, 0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("shape", "patch_size", "dilation", "padding"),
    [
        ((7, 8, 2), 3, 2, "same"),
        ((9, 10, 1), 3, 3, "valid"),
        ((6, 8, 40), 3, 2, "same"),
        ((6, 8, 40), 3, 2, "valid"),
        ((1, 30, 1), 9, 3, "same"),
        ((1, 30, 1), 9, 3, "valid"),
        ((1, 12, 20), 5, 2, "same"),
        ((30, 1, 3), 5, 4, "valid"),
        # Patches that extend over more pixels than the map has.
        ((4, 4, 2), 5, 2, "same"),
    ],
)
def test_each_phase_is_a_layer_without_gaps(
    cpu_engine, shape, patch_size, dilation, padding, kernel
):
    """A patch has the pixels of an image of every ``dilation``-th row and column."""
    rng = np.random.RandomState(1)
    images = rng.randn(3, *shape)
    layer = make_layer(shape, patch_size, dilation, padding=padding, kernel=kernel)
    plain = replace(layer, settings=replace(layer.settings, dilation=1))
    response_shape = layer.settings.response_shape(shape)
    weights = rng.randn(3, *response_shape, 6)
    expected, by_images = np.empty_like(weights), np.zeros_like(images)
    by_anchors, by_projection, by_beta = 0, 0, 0
    for phase in np.ndindex(*(1 if size == 1 else dilation for size in shape[:2])):
        steps = (1 if size == 1 else dilation for size in shape[:2])
        own = (
            slice(None),
            *(
                slice(first, None, step)
                for first, step in zip(phase, steps, strict=True)
            ),
        )
        pixels = np.ascontiguousarray(images[own])
        expected[own] = encode(OracleEngine(), pixels, [plain])
        (gradients,), by_images[own] = backward(
            OracleEngine(),
            pixels,
            [plain],
            np.ascontiguousarray(weights[own]),
            to_images=True,
        )
        by_anchors = by_anchors + gradients.anchors
        by_projection = by_projection + gradients.projection
        by_beta = by_beta + gradients.beta
    # Sums of at most 360 products of numbers of about 1 and, of gradients, over 80
    # positions; the projection enlarges errors by at most (p + reg) / reg = 600.
    tolerance = 1e5 * EPS
    for engine in (cpu_engine, OracleEngine()):
        assert relative_error(encode(engine, images, [layer]), expected) < tolerance
        (gradients,), to_images = backward(
            engine, images, [layer], weights, to_images=True
        )
        assert relative_error(gradients.anchors, by_anchors) < 100 * tolerance
        assert relative_error(gradients.projection, by_projection) < 100 * tolerance
        assert relative_error(to_images, by_images) < 100 * tolerance
        size = np.abs(weights).sum() * np.abs(images).sum()
        assert abs(gradients.beta - by_beta) <= 100 * tolerance * size


def test_the_formula(engine):
    # Even patches of 2 x 2 pixels, two pixels apart, and a map smaller than they are
    # along its height.
    image = np.random.RandomState(0).randn(2, 5, 3)
    layer = make_layer(image.shape, 2, 2, padding="valid")
    padded = np.pad(image, ((0, 1), (0, 0), (0, 0)))
    expected = []
    for column in range(3):
        patch = padded[::2, column::2][:, :2].ravel()
        norm = np.linalg.norm(patch)
        cosines = layer.anchors @ patch / norm
        expected.append(layer.projection @ (norm * np.exp(1.5 * (cosines - 1))))
    actual = encode(engine, image[np.newaxis], [layer])
    assert actual.shape == (1, 1, 3, 6)
    assert_allclose(actual[0, 0], expected, rtol=0, atol=1e4 * EPS)


@pytest.mark.parametrize("engine", [CPUEngine(), OracleEngine()], ids=["cpu", "oracle"])
def test_gathered_patches(engine):
    image = np.arange(1.0, 13.0).reshape(1, 3, 4, 1)
    settings = LayerSettings(1, 2, 1, "exp", 1.0, "same", 1e-3, 2)
    # There is one pixel of zeros around the image.
    zero = np.zeros(3, np.intp)
    rows, columns = np.array([0, 1, 2]), np.array([0, 1, 3])
    patches = engine.gather_patches(image, zero, rows, columns, settings)
    assert_array_equal(patches, [[0, 0, 0, 6], [1, 3, 9, 11], [7, 0, 0, 0]])


def test_features_of_a_network(engine):
    images = np.random.RandomState(0).rand(8, 11, 9, 2)
    features = CKNFeatures((5, 7), dilation=(2, 3), subsampling=2, random_state=0)
    features.fit(images)
    assert [each.shape for each in features.anchors_] == [(5, 18), (7, 45)]
    assert features.output_shape_ == (3, 3, 7)
    maps = encode(engine, images, features._network.layers)
    # Sums of 45 products at most, enlarged by (p + reg) / reg = 7000 at most.
    assert relative_error(features.transform(images).ravel(), maps.ravel()) < 1e-10
    plain = CKNFeatures((5, 7), subsampling=2, random_state=0).fit(images)
    assert relative_error(plain.transform(images), features.transform(images)) > 0.1


def test_layers_pickled_without_a_dilation_have_none():
    settings = LayerSettings(4, 3, 2, "exp", 1.5, "same", 1e-2)
    del settings.__dict__["dilation"]
    restored = pickle.loads(pickle.dumps(settings))
    assert "dilation" not in restored.__dict__
    assert restored.dilation == 1
    assert restored == LayerSettings(4, 3, 2, "exp", 1.5, "same", 1e-2, 1)
    assert replace(restored, subsampling=1).dilation == 1


def test_a_dilation_larger_than_memory():
    images = np.random.RandomState(0).rand(4, 8, 8, 2)
    assert LARGEST_PATCH**0.5 < 2 * 1024 + 1
    for dilation in (1024, 10**6, 2**31 - 1):
        with pytest.raises(ValueError, match=r"dilation=.*use a smaller dilation"):
            CKNFeatures(2, dilation=dilation).fit(images)
    # Patches of one pixel have no gaps.
    one = CKNFeatures(2, patch_size=1, dilation=2**31 - 1, random_state=0)
    other = CKNFeatures(2, patch_size=1, random_state=0).fit(images)
    assert_array_equal(one.fit_transform(images), other.transform(images))


def test_a_warm_start_with_another_dilation_is_refused():
    images = np.random.RandomState(0).rand(12, 6, 6)
    labels = np.arange(12) % 2
    model = SupervisedCKNClassifier(
        4, n_epochs=1, early_stopping=False, warm_start=True, random_state=0
    )
    model.fit(images, labels).set_params(dilation=2)
    with pytest.raises(ValueError, match="warm_start=True goes on"):
        model.fit(images, labels)
