"""Centred patches, and responses without the norms of patches."""

import pickle
from dataclasses import replace

import cuda_on_cpu
import fake_cupy
import joblib
import numpy as np
import pytest
from conftest import relative_error
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import bind, encode
from sklearn.base import clone

from sklearn_ckn import (
    AnchorsDisplay,
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._displays.patches import closest_positions
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda_steps import CudaSteps
from sklearn_ckn._engine.oracle import ArraySteps, OracleEngine
from sklearn_ckn._input.images import check_images
from sklearn_ckn._learning.patches import unit_patches
from sklearn_ckn._network.kernels import KERNELS, kernel_values
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import norm_growth
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.settings import LayerSettings
from sklearn_ckn._network.unfold import centred_patches, unfold, without_means

OPTIONS = [(True, True), (False, False), (True, False)]
SHAPES = [
    # (map, patch_size, dilation, padding); few and many channels, the latter with and
    # without a rest, signals along both axes, and a map that is all one patch.
    ((7, 8, 2), 3, 1, "same"),
    ((6, 8, 40), 3, 1, "same"),
    ((5, 5, 11), 2, 1, "valid"),
    ((1, 30, 1), 9, 3, "same"),
    ((30, 1, 3), 5, 2, "valid"),
    ((1, 12, 20), 5, 2, "same"),
    ((2, 2, 3), 2, 1, "valid"),
]


def make_layer(shape, center, keep_norm, dtype="f8", **changes):
    """Return a layer of unit anchors, without means if patches are centred."""
    settings = LayerSettings(6, 3, 1, "exp", 1.5, "same", 1e-2, 1, center, keep_norm)
    settings = replace(settings, **changes)
    rows = np.random.RandomState(0).randn(6, settings.patch_length(shape))
    if center:
        rows = without_means(rows, shape[2])
    return Layer.from_anchors(settings, unit_rows(rows).astype(dtype))


def by_the_formula(images, layer):
    """Compute a layer of stride 1 in float64, from centred patches themselves."""
    settings = layer.settings
    patches = unfold(images.astype("f8"), settings)
    shape = patches.shape[:-1]
    patches = patches.reshape(-1, patches.shape[-1])
    if settings.center_patches:
        pixels = patches.reshape(len(patches), -1, images.shape[3])
        patches = (pixels - pixels.mean(axis=1, keepdims=True)).reshape(patches.shape)
    norms = np.linalg.norm(patches, axis=1, keepdims=True)
    cosines = patches @ layer.anchors.T.astype("f8") / np.where(norms > 0, norms, 1)
    values = kernel_values(cosines, settings.kernel, settings.beta)
    factors = norms if settings.keep_norm else norms > 0
    return ((factors * values) @ layer.projection).reshape(*shape, -1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("center", "keep_norm"), OPTIONS)
@pytest.mark.parametrize(("shape", "patch_size", "dilation", "padding"), SHAPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_formula(
    engine, shape, patch_size, dilation, padding, center, keep_norm, kernel, dtype
):
    images = np.random.RandomState(1).randn(3, *shape).astype(dtype)
    layer = make_layer(
        shape,
        center,
        keep_norm,
        dtype,
        patch_size=patch_size,
        dilation=dilation,
        padding=padding,
        kernel=kernel,
    )
    # Cosines are sums of at most 360 products of norm about 1, of patches whose norms
    # are at most a few times those of the centred ones (here 3, for 4 pixels); kernels
    # have derivatives of at most 2. The projection enlarges errors, but not the maps,
    # by at most sqrt((p + reg) / reg) = 25 and the sum of 6 anchors.
    tolerance = 360 * 3 * 2 * 25 * np.finfo(dtype).eps
    actual = encode(engine, images, [layer])
    assert actual.dtype == dtype
    expected = by_the_formula(images, layer)
    assert relative_error(actual, expected) < tolerance
    plain = replace(
        layer, settings=replace(layer.settings, center_patches=False, keep_norm=True)
    )
    assert relative_error(encode(engine, images, [plain]), expected) > 0.01


@pytest.mark.skipif(cuda_on_cpu.compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("center", "keep_norm"), OPTIONS)
@pytest.mark.parametrize(("shape", "patch_size", "dilation", "padding"), SHAPES)
def test_the_cuda_kernel(
    shape, patch_size, dilation, padding, center, keep_norm, dtype
):
    steps = CudaSteps(fake_cupy.make_cupy()["cupy"])
    images = np.random.RandomState(1).randn(3, *shape).astype(dtype)
    # Flat patches, whose means are not exact, beside others.
    images[0] = 0.1
    images[1, :, : shape[1] // 2 + 1] = np.linspace(0.1, 0.7, shape[2])
    settings = make_layer(shape, center, keep_norm, dtype).settings
    settings = replace(
        settings, patch_size=patch_size, dilation=dilation, padding=padding
    )
    mean = np.ones(settings.patch_length(shape), dtype)
    patches, expected = ArraySteps().unfold(images, mean, settings)
    on_gpu = [steps._cupy.asarray(each) for each in (images, mean)]
    actual_patches, actual = steps.unfold(*on_gpu, settings)
    assert_array_equal(actual_patches.get(), patches)
    # Sums of at most 360 squares.
    rtol = 360 * np.finfo(dtype).eps
    for name in ("norms", "inverse_norms"):
        assert_allclose(
            getattr(actual, name).get(), getattr(expected, name), rtol=rtol, atol=0
        )
    if not keep_norm:
        assert (expected.norms == 1).all()
    assert (expected.inverse_norms == 0).any() == center


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n_channels", [1, 3, 20])
def test_patches_that_are_constant_up_to_rounding_count_as_zero(
    engine, n_channels, dtype
):
    eps = np.finfo(dtype).eps
    rng = np.random.RandomState(0)
    # 1000 equal summands: their sum is off by more than 16 eps in float64.
    flat = np.broadcast_to(0.1 + rng.rand(n_channels), (1, 1, 1000, n_channels))
    noise = rng.choice([-1, 1], size=flat.shape)
    for keep_norm in (True, False):
        layer = make_layer(
            flat.shape[1:],
            True,
            keep_norm,
            dtype,
            patch_size=1000,
            padding="valid",
        )
        for contrast, is_zero in ((0, True), (2, True), (64, False)):
            # Neighbouring numbers differ by about eps times the mean.
            image = (flat * (1 + contrast * eps * noise)).astype(dtype)
            assert (encode(engine, image, [layer]) == 0).all() == is_zero


@pytest.mark.parametrize("keep_norm", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 40, 2), (5, 6, 9)])
def test_constant_images_have_no_features(shape, dtype, keep_norm):
    rng = np.random.RandomState(0)
    images = rng.randint(0, 200, size=(12, *shape)).astype(dtype)
    features = CKNFeatures(
        (4, 5), center_patches=(True, False), keep_norm=keep_norm, random_state=0
    )
    features.fit(images)
    levels = rng.randint(1, 200, size=(6, 1, 1, shape[2])).astype(dtype)
    if dtype != "u1":
        levels = levels / levels.dtype.type(7)
    constant = np.broadcast_to(levels, (6, *shape))
    assert_array_equal(features.transform(constant), 0)
    assert features.transform(images).any(axis=1).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 40, 3), (5, 6, 9)])
def test_offsets_make_no_difference(shape, dtype):
    rng = np.random.RandomState(0)
    images = rng.randint(0, 100, size=(15, *shape)).astype(dtype)
    moved = images + rng.randint(1, 100, size=(15, 1, 1, shape[2])).astype(dtype)
    assert moved.dtype == dtype
    features = CKNFeatures(
        (4, 5), center_patches=(True, False), subsampling=2, random_state=0
    )
    maps = features.fit_transform(images)
    # The means, in float64, and the images without them differ by a rounding each, of
    # numbers up to 200 in float64, and the latter in float32, which is rarely seen.
    # The patches have norms above 1.
    eps = np.finfo(maps.dtype).eps
    assert relative_error(features.transform(moved), maps) < 1e4 * eps
    refitted = clone(features).fit(moved)
    for left, right in zip(refitted.anchors_, features.anchors_, strict=True):
        # Deeper anchors are patches of the maps of which the errors are given above.
        assert_allclose(left, right, rtol=0, atol=1e5 * eps)
    plain = CKNFeatures((4, 5), subsampling=2, random_state=0).fit(images)
    differ = relative_error(plain.transform(moved), plain.transform(images))
    assert differ > 0.1


@pytest.mark.parametrize("keep_norm", [False, (True, False), (False, True)])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("normalize", [0, 0.5, 1])
def test_contrast_makes_no_difference(keep_norm, center, flip_average, normalize):
    images = np.random.RandomState(0).randn(10, 7, 8, 2)
    features = CKNFeatures(
        (4, 5),
        keep_norm=keep_norm,
        center_patches=center,
        flip_average=flip_average,
        normalize=normalize,
        random_state=0,
    )
    maps = features.fit_transform(images)
    assert features._network.degree == 0
    for exponent in (-900, -30, 30, 900):  # Powers of two: there is no rounding.
        assert_array_equal(features.transform(images * 2.0**exponent), maps)
    factors = np.random.RandomState(1).uniform(0.1, 10, size=(10, 1, 1, 1))
    assert relative_error(features.transform(factors * images), maps) < 1e-11


@pytest.mark.filterwarnings("ignore:X seems to be in other units:UserWarning")
def test_contrast_counts_with_centred_patches_alone():
    images = np.random.RandomState(0).randn(10, 7, 8, 2)
    features = CKNFeatures((4, 5), center_patches=True, random_state=0)
    maps = features.fit_transform(images)
    for exponent in (-900, 900):
        actual = features.transform(images * 2.0**exponent)
        assert_array_equal(actual, maps * 2.0**exponent)


def test_large_values():
    # Without norms, features do not grow with the images.
    images = np.random.RandomState(0).randn(10, 7, 8, 2)
    images *= np.finfo("f8").max / abs(images).max() / 16
    features = CKNFeatures((4, 5), keep_norm=(True, False), random_state=0)
    assert abs(features.fit_transform(images)).max() < 10
    with pytest.raises(ValueError, match="divide X by a constant"):
        CKNFeatures((4, 5), random_state=0).fit(images)
    # Differences can leave the range where images do not.
    settings = resolve_layers(features.get_params(), (7, 8, 2))
    centred = [replace(each, center_patches=True) for each in settings]
    growth = norm_growth(settings, (7, 8, 2))
    assert growth == 2**0.5
    assert norm_growth(centred, (7, 8, 2)) == 2 * growth


def test_an_image_does_not_depend_on_the_others_of_a_call():
    for shape in [(9, 7, 1), (1, 400, 1), (6, 5, 3), (30, 1, 12)]:
        for dtype in ("f4", "f8"):
            images = np.random.RandomState(0).rand(9, *shape).astype(dtype)
            features = CKNFeatures(
                4, center_patches=True, keep_norm=False, random_state=0
            )
            maps = features.fit_transform(images)
            for i in range(9):
                assert_array_equal(features.transform(images[i : i + 1])[0], maps[i])


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
def test_a_network_with_values_per_layer(engine, dtype):
    images = np.random.RandomState(0).randint(0, 200, size=(9, 8, 9, 2)).astype(dtype)
    features = CKNFeatures(
        (5, 12, 7),
        subsampling=1,
        center_patches=(True, False, True),
        keep_norm=(False, True, False),
        random_state=0,
    )
    maps = features.fit_transform(images)
    settings = features._network.settings
    assert [each.center_patches for each in settings] == [True, False, True]
    assert [each.keep_norm for each in settings] == [False, True, False]
    for anchors, n_channels in zip(features.anchors_, (2, 5, 12), strict=True):
        means = anchors.reshape(len(anchors), -1, n_channels).mean(axis=1)
        is_centred = n_channels != 5
        # Numbers below 1, rounded to the dtype.
        assert (abs(means).max() < 4 * np.finfo(anchors.dtype).eps) == is_centred
    centred = images - images.mean(axis=(1, 2), keepdims=True, dtype="f8")
    expected = encode(engine, centred, features._network.layers)
    # float32 anchors have means of up to eps / 2, which meet patches of a level several
    # times their contrast; float64 has the errors of sums of 108 products. Projections
    # enlarge them by at most sqrt((p + reg) / reg) = 110 in each of two layers.
    tolerance = 110**2 * 100 * np.finfo(maps.dtype).eps
    assert relative_error(maps.ravel(), expected.ravel()) < min(tolerance, 1e-2)


def test_patches_are_centred_before_they_are_made_unit():
    rng = np.random.RandomState(0)
    patches = rng.rand(50, 12) + [10, -20, 30] * 4
    patches[7] = [0.1, 0.2, 0.3] * 4
    patches[9] = 0
    # Other units: neither squares nor norms leave the range.
    patches[:5] *= 1e-200
    patches[5:7] *= 1e200
    kept = np.delete(patches, [7, 9], axis=0)
    pixels = (kept / abs(kept).max(axis=1, keepdims=True)).reshape(48, 4, 3)
    expected = unit_rows((pixels - pixels.mean(axis=1, keepdims=True)).reshape(48, 12))
    units = unit_patches(patches.copy(), 3, 2, center=True)
    # The contrast is some percent of the level.
    assert_allclose(units, expected, rtol=0, atol=1e-13)
    # Nothing but flat patches: one that is zero on average and unit.
    (only,) = unit_patches(np.tile([0.1, 0.2], (5, 4)), 2, 2, center=True)
    assert_allclose(only.reshape(4, 2).mean(axis=0), 0, atol=1e-15)
    assert_allclose(np.linalg.norm(only), 1)


def test_flat_patches_keep_their_dtype():
    patches = np.full((2, 8), 0.1, dtype="f4")
    patches[1, 0] += 1
    centred = centred_patches(patches, 2)
    assert centred.dtype == np.float64
    assert_array_equal(centred[0], 0)
    assert_allclose(centred[1, ::2], np.array([3, -1, -1, -1]) / 4, rtol=1e-6)
    assert_array_equal(centred[1, 1::2], 0)
    assert unit_patches(patches, 2, 2, center=True).dtype == np.float32


@pytest.mark.parametrize(("center", "keep_norm"), OPTIONS)
def test_the_residual_is_that_of_unit_patches(center, keep_norm):
    images = np.random.RandomState(0).rand(20, 6, 6)
    features = CKNFeatures(
        200,
        center_patches=center,
        keep_norm=keep_norm,
        n_patches=200,
        nystrom_reg=1e-9,
        random_state=0,
    ).fit(images)
    # As many anchors as patches represent them all.
    assert features.nystrom_residual_[0] < 1e-6
    few = clone(features).set_params(n_anchors=8).fit(images)
    assert 0.01 < few.nystrom_residual_[0] < 0.9


@pytest.mark.parametrize("options", [{}, {"center_patches": (False, True)}])
def test_errors(options):
    images = np.random.RandomState(0).rand(6, 5, 5)
    two = CKNFeatures((2, 2), random_state=0)
    for name in ("center_patches", "keep_norm"):
        for value in (1, "yes", None):
            with pytest.raises(ValueError, match=f"'{name}' parameter"):
                clone(two).set_params(**{name: value}).fit(images)
        with pytest.raises(ValueError, match=rf"{name}\[1\] must be True or False"):
            clone(two).set_params(**{name: (True, 1)}).fit(images)
        with pytest.raises(ValueError, match=f"{name} has 3 values"):
            clone(two).set_params(**{name: (True,) * 3}).fit(images)
    message = "center_patches=True leaves nothing of the patches of one pixel of layer"
    for parameters in (
        {"patch_size": 1, "center_patches": True},
        {"patch_size": (3, 1), "center_patches": (False, True)},
        # The first layer leaves one pixel.
        {"subsampling": ("global", 1), "center_patches": (False, True)},
    ):
        with pytest.raises(ValueError, match=message):
            clone(two).set_params(**parameters).fit(images)
    # One pixel along one axis only.
    clone(two).set_params(center_patches=True).fit(images[:, :1])


def test_there_are_no_gradients():
    images = np.random.RandomState(0).rand(2, 6, 6, 1)
    for center, keep_norm in OPTIONS:
        layer = make_layer(images.shape[1:], center, keep_norm)
        for engine in (CPUEngine(), OracleEngine()):
            with pytest.raises(NotImplementedError, match="no gradients"):
                bind(engine, [layer], images).forward(images)
    own = SupervisedCKNClassifier()
    assert not {"center_patches", "keep_norm"} & set(own.get_params())


def test_a_supervised_model_pickled_without_them_can_be_fitted_again():
    images = np.random.RandomState(0).rand(12, 6, 6)
    labels = np.arange(12) % 2
    model = SupervisedCKNClassifier(
        4, n_epochs=1, early_stopping=False, warm_start=True, random_state=0
    )
    model.fit(images, labels)
    for name in ("center_patches", "keep_norm"):
        del model.__dict__[name]
    restored = pickle.loads(pickle.dumps(model))
    restored.fit(images, labels)
    assert restored.history_["epoch"][-1] == 2


def test_layers_and_networks_pickled_without_them_have_the_defaults():
    features = CKNFeatures(4, random_state=0)
    images = np.random.RandomState(0).rand(12, 6, 6)
    maps = features.fit_transform(images)
    del features._network.__dict__["center_images"]
    for name in ("center_patches", "keep_norm"):
        del features._network.layers[0].settings.__dict__[name]
    restored = pickle.loads(pickle.dumps(features))
    assert_array_equal(restored.transform(images), maps)


@pytest.mark.parametrize("estimator", [CKNClassifier, CKNRegressor])
def test_heads_pickles_and_clones(estimator):
    images = np.random.RandomState(0).rand(60, 1, 30)
    model = estimator(
        (4, 5), center_patches=(True, False), keep_norm=False, random_state=0
    )
    predicted = model.fit(images, np.arange(60) % 3).predict(images)
    assert model.features_.center_patches == (True, False)
    assert model.features_.keep_norm is False
    assert clone(model).get_params() == model.get_params()
    restored = pickle.loads(pickle.dumps(model))
    assert_array_equal(restored.predict(images), predicted)
    assert restored.features_._network.center_images
    # Offsets and contrast make no difference to the whole model.
    assert_allclose(restored.predict(3 * images + 5), predicted, rtol=1e-6, atol=1e-6)


def test_memory_tells_the_options_apart(tmp_path):
    images = np.random.RandomState(0).rand(12, 6, 6)
    memory = joblib.Memory(tmp_path, verbose=0)
    for center, keep_norm in [(False, True), *OPTIONS]:
        features = CKNFeatures(
            (4, 5), center_patches=center, keep_norm=keep_norm, random_state=0
        )
        expected = features.fit_transform(images)
        cached = clone(features).set_params(memory=memory)
        for _ in range(2):
            assert_array_equal(cached.fit(images).transform(images), expected)


def test_the_display_compares_centred_patches(pyplot):
    # The level differs from place to place by much more than the contrast.
    levels = 10 * np.arange(7.0)[:, np.newaxis]
    images = levels + np.random.RandomState(0).rand(9, 7, 7)
    features = CKNFeatures(5, center_patches=True, padding="valid", random_state=0)
    features.fit(images)
    checked = check_images(features, images, reset=False)
    cosines, positions = closest_positions(features._network, checked)
    patches = unfold(images[..., np.newaxis], features._network.settings[0])
    units = unit_rows(without_means(patches.reshape(-1, 9), 1)).reshape(9, 25, 9)
    products = units @ features.anchors_[0].T
    assert_allclose(cosines, products.max(axis=1), rtol=0, atol=1e-12)
    assert_array_equal(positions, products.argmax(axis=1))
    assert AnchorsDisplay.from_estimator(features).tiles.shape == (5, 1, 3, 3, 1)
