"""PatchWhitening: its definition in plain loops, and what follows from it."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNFeatures, PatchWhitening

IMAGES = np.random.RandomState(0).rand(9, 6, 5, 2)


def positions(shape, patch_shape):
    height, width = patch_shape[:2]
    for row in range(shape[0] - height + 1):
        for column in range(shape[1] - width + 1):
            yield slice(row, row + height), slice(column, column + width)


def centred(patch):
    return patch if patch[..., 0].size == 1 else patch - patch.mean(axis=(0, 1))


def centred_patches(images, patch_shape):
    """Return all centred patches, one a row."""
    return np.array(
        [
            centred(image[place]).ravel()
            for image in images
            for place in positions(image.shape, patch_shape)
        ]
    )


def reference_matrix(images, patch_shape, power, reg):
    patches = centred_patches(images, patch_shape)
    eigenvalues, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    height, width, n_channels = patch_shape
    n_kept = n_channels * max(height * width - 1, 1)
    shifted = np.maximum(eigenvalues, 0) + reg * eigenvalues.sum() / n_kept
    matrix = vectors @ np.diag(shifted**-power) @ vectors.T
    # Centring what the matrix takes and what it gives.
    unit = np.eye(len(matrix))
    centring = np.array([centred(e.reshape(patch_shape)).ravel() for e in unit])
    return centring @ matrix @ centring


def put_together(images, patch_shape, matrix):
    whitened = np.empty(images.shape)
    for image, result in zip(images, whitened, strict=True):
        sums, counts = np.zeros(image.shape), np.zeros(image.shape)
        for place in positions(image.shape, patch_shape):
            sums[place] += (matrix @ image[place].ravel()).reshape(patch_shape)
            counts[place] += 1
        result[:] = sums / counts
    return whitened


SHAPES = [
    ((6, 5, 2), 3, (3, 3, 2)),
    ((6, 5, 2), 2, (2, 2, 2)),
    ((6, 5, 2), 1, (1, 1, 2)),
    ((3, 7, 1), 4, (3, 4, 1)),
    ((4, 3, 3), 9, (4, 3, 3)),
    ((1, 9, 2), 3, (1, 3, 2)),
    ((8, 1, 1), 5, (5, 1, 1)),
]


@pytest.mark.parametrize(("image_shape", "patch_size", "patch_shape"), SHAPES)
@pytest.mark.parametrize(("power", "reg"), [(0.25, 1e-2), (0.5, 1e-3), (0.0, 1.0)])
def test_definition(image_shape, patch_size, patch_shape, power, reg):
    images = np.random.RandomState(1).randn(60, *image_shape)
    whitening = PatchWhitening(patch_size, power=power, reg=reg).fit(images[:50])
    matrix = reference_matrix(images[:50], patch_shape, power, reg)
    assert whitening.patch_shape_ == patch_shape
    assert_allclose(whitening.whitening_, matrix, rtol=0, atol=1e-12)
    assert_allclose(
        whitening.transform(images),
        put_together(images, patch_shape, matrix),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize(("image_shape", "patch_size", "patch_shape"), SHAPES)
def test_components(image_shape, patch_size, patch_shape):
    images = np.random.RandomState(2).randn(20, *image_shape)
    whitening = PatchWhitening(patch_size).fit(images)
    eigenvalues, components = whitening.eigenvalues_, whitening.components_
    n_pixels, n_channels = np.prod(patch_shape[:2]), patch_shape[2]
    n_components = n_channels * max(n_pixels - 1, 1)
    assert components.shape == (n_components, n_pixels * n_channels)
    assert (np.diff(eigenvalues) <= 0).all()
    assert_allclose(components @ components.T, np.eye(n_components), atol=1e-13)
    patches = centred_patches(images, patch_shape)
    assert_allclose(
        components.T @ np.diag(eigenvalues) @ components,
        patches.T @ patches / len(patches),
        atol=1e-13,
    )
    assert_array_equal(whitening.whitening_, whitening.whitening_.T)
    assert_allclose(
        whitening.whitening_ @ components.T,
        components.T * (eigenvalues + 1e-2 * eigenvalues.mean()) ** -0.25,
        atol=1e-12,
    )


def test_power_zero_is_local_centring():
    whitening = PatchWhitening(power=0).fit(IMAGES[:2])
    expected = np.zeros(IMAGES.shape)
    counts = np.zeros(IMAGES.shape[1:])
    for place in positions(IMAGES.shape[1:], (3, 3)):
        for image, result in zip(IMAGES, expected, strict=True):
            result[place] += centred(image[place])
        counts[place] += 1
    assert_allclose(whitening.transform(IMAGES), expected / counts, atol=1e-14)


@pytest.mark.parametrize("patch_size", [1, 3])
def test_power_one_half_makes_second_moments_the_identity(patch_size):
    whitening = PatchWhitening(patch_size, power=0.5, reg=1e-12).fit(IMAGES)
    patches = centred_patches(IMAGES, whitening.patch_shape_) @ whitening.whitening_
    n_pixels = patch_size**2
    projector = np.eye(n_pixels) - (1 / n_pixels if n_pixels > 1 else 0)
    assert_allclose(
        patches.T @ patches / len(patches), np.kron(projector, np.eye(2)), atol=1e-10
    )


def test_layouts():
    expected = PatchWhitening().fit(IMAGES).transform(IMAGES)
    assert expected.flags.c_contiguous
    rows, gray = IMAGES.reshape(9, -1), IMAGES[..., 0]
    for X, image_shape in [
        (rows, (6, 5, 2)),
        (rows.tolist(), (6, 5, 2)),
        (IMAGES.tolist(), None),
        (list(IMAGES), None),
        (np.asfortranarray(IMAGES), (6, 5, 2)),
        (np.repeat(IMAGES, 2, axis=2)[:, :, ::2], None),
    ]:
        whitened = PatchWhitening(image_shape=image_shape).fit_transform(X)
        assert_array_equal(whitened, expected.reshape(np.shape(X)))
    from_gray = PatchWhitening().fit(gray)
    expected = from_gray.transform(gray)
    assert expected.shape == (9, 6, 5)
    for X in (gray[..., np.newaxis], gray.reshape(9, 30), gray.reshape(9, 30).tolist()):
        assert_array_equal(from_gray.transform(X), expected.reshape(np.shape(X)))


def test_dtypes():
    images = np.random.RandomState(0).randint(256, size=(6, 5, 5)).astype("u1")
    fitted = PatchWhitening().fit(images)
    whitened = fitted.transform(images)
    assert whitened.dtype == np.float32
    for other in ("f4", "f8", "i8"):
        images_other = images.astype(other)
        assert_array_equal(
            PatchWhitening().fit(images_other).whitening_, fitted.whitening_
        )
        result = fitted.transform(images_other)
        assert result.dtype == ("f4" if other == "f4" else "f8")
        # Differences are at most 255, and a patch has eight of them.
        gain = np.abs(fitted.whitening_).sum(axis=1).max()
        atol = 8 * np.finfo("f4").eps * 255 * gain
        assert_allclose(result, whitened, rtol=0, atol=atol)


def test_input_is_not_changed():
    for patch_size in (1, 3):
        images = np.ascontiguousarray(IMAGES[:, :1]).astype("f4")
        images.flags.writeable = False
        before = images.copy()
        whitened = PatchWhitening(patch_size).fit(images).transform(images)
        assert not np.shares_memory(whitened, images)
        assert_array_equal(images, before)


@pytest.mark.parametrize("power", [0, 0.25, 0.5])
@pytest.mark.parametrize("factor", [1e-30, 255.0, 1e30])
def test_unit_of_the_images(power, factor):
    expected = PatchWhitening(power=power).fit(IMAGES).transform(IMAGES)
    expected *= factor ** (1 - 2 * power)
    whitened = PatchWhitening(power=power).fit_transform(factor * IMAGES)
    assert np.linalg.norm(whitened - expected) < 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("power", [0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("patch_size", [1, 3])
@pytest.mark.parametrize("exponent", [-1000, -566, -40, 516, 1000])
def test_units_at_the_ends_of_the_range(exponent, patch_size, power):
    """Units whose squares overflow or vanish: powers of two, which change no digit."""
    whitening = PatchWhitening(patch_size, power=power).fit(IMAGES)
    expected = whitening.transform(IMAGES)
    images = np.ldexp(IMAGES, exponent)
    scaled = PatchWhitening(patch_size, power=power).fit(images)
    assert_array_equal(scaled.components_, whitening.components_)
    eigenvalues = [float(e) for e in whitening.eigenvalues_]
    in_range = abs(2 * exponent) < 1000
    assert np.isfinite(scaled.eigenvalues_).all()
    if in_range:
        assert_array_equal(scaled.eigenvalues_, np.ldexp(eigenvalues, 2 * exponent))
    else:
        limit = np.finfo(float).max if exponent > 0 else 0
        assert_allclose(scaled.eigenvalues_, limit)
    whitened = scaled.transform(images)
    # The unit's power is rounded, here and in the fit, and 2 to it is off by as much:
    # half of eps times the unit each. The multipliers and the products add some more.
    unit = exponent * (1 - 2 * power)
    whitened = np.ldexp(whitened, -round(unit)) / 2 ** (unit - round(unit))
    rounding = (abs(unit) + 32) * np.finfo(float).eps
    assert_allclose(whitened, expected, rtol=0, atol=rounding * abs(expected).max())
    # Fitted matrices serve images of other units.
    assert_allclose(
        np.ldexp(scaled.transform(np.ldexp(IMAGES, exponent // 2)), exponent // 2),
        scaled.transform(np.ldexp(IMAGES, 2 * (exponent // 2))),
        rtol=1e-15,
    )


@pytest.mark.parametrize("power", [0, 0.25, 0.5])
@pytest.mark.parametrize("exponent", [-120, -60, 60, 126])
def test_units_in_float32(exponent, power):
    images = IMAGES.astype(np.float32)
    expected = PatchWhitening(power=power).fit_transform(images)
    scaled = np.ldexp(images, exponent)
    whitened = PatchWhitening(power=power).fit_transform(scaled)
    assert whitened.dtype == np.float32
    unit = exponent * (1 - 2 * power)
    assert unit == int(unit)
    # The matrix is rounded to float32, from numbers that differ in float64's last bits.
    assert_allclose(
        np.ldexp(whitened, -int(unit)), expected, atol=1e-6 * abs(expected).max()
    )


def test_denormal_images_in_float32():
    images = np.random.RandomState(0).randint(1000, size=(9, 6, 5)) * 1.0
    expected = PatchWhitening(power=0.5).fit_transform(images)
    denormal = np.ldexp(images, -149).astype(np.float32)
    assert 0 < denormal.max() < np.finfo(np.float32).tiny
    whitened = PatchWhitening(power=0.5).fit_transform(denormal)
    assert np.linalg.norm(whitened - expected) < 1e-6 * np.linalg.norm(expected)


def test_a_flat_image_beside_others_of_another_unit():
    """Flat images have no contrast: their values do not decide the unit."""
    images = np.ldexp(IMAGES, -400)
    expected = PatchWhitening().fit(images)
    flat = np.full((3, 6, 5, 2), [1e300, -1e-300])
    whitening = PatchWhitening().fit(np.concatenate([images, flat]))
    # They count as patches of zeros.
    ratio = len(images) / (len(images) + len(flat))
    assert_allclose(
        np.ldexp(whitening.eigenvalues_, 800),
        ratio * np.ldexp(expected.eigenvalues_, 800),
        rtol=1e-13,
    )
    assert_array_equal(whitening.transform(flat), 0)


def test_results_beyond_the_range():
    whitening = PatchWhitening(power=0.5).fit(np.ldexp(IMAGES, -100))
    whitened = whitening.transform(np.ldexp(IMAGES, 900))
    assert np.isfinite(whitened).all()
    with pytest.raises(ValueError, match=r"X holds values so large.*float64"):
        whitening.transform(np.ldexp(IMAGES, 1000))
    with pytest.raises(ValueError, match=r"X holds values so large.*float32"):
        whitening.transform(np.ldexp(IMAGES, 100).astype(np.float32))
    with pytest.raises(ValueError, match="multiply X by a constant"):
        # The rank of one image's patches is less than their length.
        PatchWhitening(5, power=0.5, reg=1e-300).fit(np.ldexp(IMAGES[:1], -1018))


def test_linear():
    whitening = PatchWhitening(power=0.4, reg=1e-3).fit(IMAGES)
    images = np.random.RandomState(3).randn(2, 6, 5, 2)
    one, other = whitening.transform(images)
    assert_allclose(
        whitening.transform([images[0] - 3 * images[1]])[0],
        one - 3 * other,
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_flat_parts_become_exactly_zero(dtype):
    whitening = PatchWhitening().fit(IMAGES)
    images = np.full((2, 6, 5, 2), 0.1, dtype=dtype)
    images[..., 1] = 1e4 / 3
    images[1, 0, 0] = 7
    whitened = whitening.transform(images)
    assert_array_equal(whitened[0], 0)
    assert (whitened[1, :3, :3] != 0).all()
    assert_array_equal(whitened[1, 3:], 0)
    assert_array_equal(whitened[1, :, 3:], 0)


@pytest.mark.parametrize("power", [0, 0.25, 0.5])
def test_constant_training_images(power):
    constant = np.full((3, 6, 5, 2), 0.1)
    whitening = PatchWhitening(power=power).fit(constant)
    assert_array_equal(whitening.eigenvalues_, 0)
    assert_array_equal(whitening.transform(constant), 0)
    assert_allclose(
        whitening.transform(IMAGES),
        PatchWhitening(power=0).fit_transform(IMAGES),
        atol=1e-14,
    )


def test_fewer_patches_than_dimensions():
    whitening = PatchWhitening(5, power=0.5, reg=1e-8).fit(IMAGES[:1])
    assert np.isfinite(whitening.transform(IMAGES)).all()


@pytest.mark.parametrize("patch_size", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_batch_block_and_threads_change_nothing(patch_size, dtype):
    images = np.random.RandomState(0).rand(40, 20, 16, 3).astype(dtype)
    whitening = PatchWhitening(patch_size).fit(images)
    expected = whitening.transform(images)
    for i in (0, 17, 39):
        assert_array_equal(whitening.transform(images[i : i + 1])[0], expected[i])
    order = [3, 3, 0, 25]
    assert_array_equal(whitening.transform(images[order]), expected[order])
    # From one image a block; a float64 image takes less than 0.2 MB.
    for mebibytes in (0.2, 0.5):
        with sklearn.config_context(working_memory=mebibytes):
            again = PatchWhitening(patch_size).fit(images)
            assert_array_equal(again.whitening_, whitening.whitening_)
            assert_array_equal(again.transform(images), expected)
    for n_threads in (1, 2):
        with threadpool_limits(limits=n_threads):
            again = PatchWhitening(patch_size).fit(images)
            assert_array_equal(again.whitening_, whitening.whitening_)
            assert_array_equal(again.transform(images), expected)


@pytest.mark.parametrize("as_rows", [False, True], ids=["images", "rows"])
def test_grid_search_over_power(as_rows, digits):
    images, labels = digits[0][:300], digits[1][:300]
    image_shape = (8, 8) if as_rows else None
    features = CKNFeatures(
        n_anchors=(8, 16), n_patches=2000, image_shape=image_shape, random_state=0
    )
    pipeline = make_pipeline(
        PatchWhitening(image_shape=image_shape), features, RidgeClassifier(alpha=1e-3)
    )
    search = GridSearchCV(pipeline, {"patchwhitening__power": [0, 0.25, 0.5]}, cv=2)
    search.fit(images.reshape(300, -1) if as_rows else images, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.8


def test_clone_and_pickle():
    whitening = PatchWhitening(2, power=0.3, reg=0.1).fit(IMAGES)
    copy = pickle.loads(pickle.dumps(whitening))
    assert_array_equal(copy.transform(IMAGES), whitening.transform(IMAGES))
    copy = clone(whitening)
    assert copy.get_params() == whitening.get_params()
    assert not hasattr(copy, "whitening_")
    assert_array_equal(copy.fit_transform(IMAGES), whitening.transform(IMAGES))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patch_size", 0),
        ("patch_size", 2.5),
        ("patch_size", (3, 3)),
        ("power", -0.1),
        ("power", 0.6),
        ("power", "zca"),
        ("reg", 0),
        ("reg", None),
        ("image_shape", 3),
    ],
)
def test_bad_parameters(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of PatchWhitening"):
        PatchWhitening(**{name: value}).fit(IMAGES)


def test_other_images_at_transform():
    whitening = PatchWhitening().fit(IMAGES)
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(6, 5, 2\)"):
        whitening.transform(IMAGES[:, :5])
    with pytest.raises(ValueError, match=r"59 features.*60 features"):
        whitening.transform(IMAGES.reshape(9, -1)[:, :59])
    with pytest.raises(sklearn.exceptions.NotFittedError):
        PatchWhitening().transform(IMAGES)


def test_a_failed_fit_keeps_what_was_fitted():
    whitening = PatchWhitening().fit(IMAGES)
    before = vars(whitening).copy()
    with pytest.raises(ValueError, match="NaN"):
        whitening.fit(np.full((2, 4, 4), np.nan))
    whitening.set_params(image_shape=(5, 5))
    with pytest.raises(ValueError, match=r"48 columns, but image_shape=\(5, 5\)"):
        whitening.fit(np.ones((2, 48)))
    assert vars(whitening.set_params(image_shape=None)) == before


def test_rows_without_shape_warn():
    with pytest.warns(UserWarning, match=r"image_shape=\(1, 1, 60\)") as record:
        whitening = PatchWhitening().fit(IMAGES.reshape(9, -1))
    assert record[0].filename == __file__
    assert whitening.patch_shape_ == (1, 1, 60)


def test_data_frame():
    pandas = pytest.importorskip("pandas")
    names = [f"pixel{i}" for i in range(60)]
    frame = pandas.DataFrame(IMAGES.reshape(9, -1), columns=names)
    whitening = PatchWhitening(image_shape=(6, 5, 2)).fit(frame)
    assert whitening.feature_names_in_.tolist() == names
    assert whitening.get_feature_names_out().tolist() == names
    expected = PatchWhitening().fit_transform(IMAGES).reshape(9, 60)
    assert_array_equal(whitening.transform(frame), expected)
    whitened = whitening.set_output(transform="pandas").transform(frame)
    assert whitened.columns.tolist() == names
    assert_array_equal(whitened.to_numpy(), expected)
