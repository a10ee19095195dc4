"""Which patches become points of the clustering."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import bind, encode

from sklearn_ckn import CKNFeatures
from sklearn_ckn._common import cache_blocks
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._learning.patches import sample_patches, unit_patches
from sklearn_ckn._network.settings import LayerSettings

SETTINGS = LayerSettings(4, 1, 1, "exp", 1.0, "same", 1e-3)


def sample(images, n_patches, settings=SETTINGS, layers=(), seed=0):
    encoder = bind(CPUEngine(), layers, images)
    rng = np.random.RandomState(seed)
    return sample_patches(encoder, images, settings, n_patches, rng)


def test_every_image_and_position_is_as_likely():
    # Patches of one pixel, each pixel its own number.
    images = np.arange(6 * 5 * 4.0).reshape(6, 5, 4, 1)
    drawn = [sample(images, 30, seed=seed).ravel() for seed in range(400)]
    assert all(len(np.unique(patches)) == 30 for patches in drawn)
    counts = np.bincount(np.concatenate(drawn).astype(int), minlength=120)
    # Binomial, 400 draws with probability 1/4: mean 100, standard deviation 8.7.
    assert abs(counts - 100).max() < 5 * 8.7


def test_borders_are_included_with_their_padding():
    images = np.ones((3, 4, 4, 1))
    settings = LayerSettings(4, 3, 1, "exp", 1.0, "same", 1e-3)
    patches = sample(images, 1000, settings)
    assert len(patches) == 3 * 16
    sums, counts = np.unique(patches.sum(axis=1), return_counts=True)
    assert_array_equal(sums, [4, 6, 9])
    assert_array_equal(counts, [3 * 4, 3 * 8, 3 * 4])


def test_later_layers_see_the_maps_of_the_earlier_ones():
    images = np.random.RandomState(0).randn(5, 6, 6, 2)
    features = CKNFeatures(n_anchors=(4, 4), random_state=0).fit(images)
    first, second = features._network.layers
    maps = encode(CPUEngine(), images, [first])
    everything = sample(images, 10**6, second.settings, [first])
    assert_allclose(everything, sample(maps, 10**6, second.settings), rtol=1e-12)
    some = sample(images, 10, second.settings, [first], seed=3)
    assert_allclose(some, sample(maps, 10, second.settings, seed=3), rtol=1e-12)
    assert len(some) == 10


def test_only_sampled_images_pass_through_the_earlier_layers(monkeypatch):
    images = np.random.RandomState(0).randn(50, 6, 6, 1)
    features = CKNFeatures(n_anchors=(4, 4), random_state=0).fit(images)
    encoded = []
    encode = CPUEngine.encode

    def count(self, images, prepared):
        encoded.append(len(images))
        return encode(self, images, prepared)

    monkeypatch.setattr(CPUEngine, "encode", count)
    first, second = features._network.layers
    sample(images, 5, second.settings, [first])
    assert 0 < sum(encoded) <= 5


def test_zero_patches_are_dropped():
    patches = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 1e-200]])
    assert_allclose(unit_patches(patches, 2, 1), [[0.6, 0.8], [0.0, 1.0]])


def test_the_constant_direction_stands_in_for_nothing():
    assert_allclose(unit_patches(np.zeros((5, 4)), 1, 2), [[0.5, 0.5, 0.5, 0.5]])


def test_near_constant_patches_are_dropped():
    # Two by two pixels of two channels, each pixel (3, 1) and one pixel changed: the
    # distance from the mean pixel is sqrt(3)/2 times the change, the norm 2 sqrt(10).
    patches = np.tile([3.0, 1.0], (6, 4))
    changes = np.array([0.0, 1e-3, 0.3, 0.4, 3.0, 1e-9])
    patches[:, 0] += changes
    contrasts = changes * np.sqrt(3) / 2 / np.linalg.norm(patches, axis=1)
    assert_array_equal(contrasts > 0.05, [False, False, False, True, True, False])
    units = patches / np.linalg.norm(patches, axis=1, keepdims=True)
    assert_allclose(unit_patches(patches.copy(), 2, 2), units[3:5])
    assert_allclose(unit_patches(patches[:3].copy(), 2, 2), units[:3])
    assert_allclose(unit_patches(patches.copy(), 2, 1), units)


def test_contrasts_count_the_zeros_beside_an_axis_of_length_one():
    # Constant signals differ from their mean over 3 x 3 pixels, six of which are zeros
    # that are not stored; nearly constant ones are kept, too.
    rows = np.array([[2.0, 2.0, 2.0], [1.0, 1.0, 1.001], [0.0, 5.0, 0.0]])
    square = np.zeros((3, 3, 3))
    square[:, 1] = rows
    expected = unit_patches(square.reshape(3, 9), 1, 3).reshape(-1, 3, 3)
    assert_allclose(unit_patches(rows, 1, 3), expected[:, 1], rtol=1e-15)
    assert len(expected) == 3
    # One pixel of a color: the zeros around it are eight.
    pixels = np.array([[3.0, 4.0]])
    assert_allclose(unit_patches(pixels, 2, 3), [[0.6, 0.8]])
    square = np.zeros((1, 9, 2))
    square[:, 4] = [3.0, 4.0]
    assert len(unit_patches(square.reshape(1, -1), 2, 3)) == 1


def test_patches_of_many_blocks(monkeypatch):
    patches = np.random.RandomState(0).randn(500, 9)
    patches[::7] = 0
    patches[::5] = 2
    kept = np.setdiff1d(np.arange(500), np.r_[0:500:7, 0:500:5])
    expected = patches[kept] / np.linalg.norm(patches[kept], axis=1, keepdims=True)
    monkeypatch.setattr(cache_blocks, "CACHE_BLOCK_VALUES", 100)
    assert_allclose(unit_patches(patches, 1, 3), expected)
