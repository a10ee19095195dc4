"""Images in files, which are read block by block where they are used."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from plain_map import PLAIN
from sklearn.datasets import load_digits

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    PatchWhitening,
    SupervisedCKNClassifier,
    ckn_kernel,
)
from sklearn_ckn._common import cache_blocks, lazy_array
from sklearn_ckn._common.lazy_array import LazyArray, is_lazy
from sklearn_ckn._input.copies import first_copies

DIGITS = load_digits()
IMAGES = DIGITS.images[:300].astype(np.uint8)
LABELS = DIGITS.target[:300]


class File:
    """What a library for files gives: a shape, a dtype and slices, which are noted."""

    def __init__(self, images, broken=None):
        self._images = images
        self._broken = broken
        self.shape, self.dtype = images.shape, images.dtype
        self.read = []

    def __getitem__(self, rows):
        self.read.append((rows.start, rows.stop))
        if self._broken is not None and rows.start <= self._broken < rows.stop:
            raise OSError("bad sector")
        return self._images[rows]


def make(kind=CKNClassifier, **parameters):
    return kind((6, 8), n_patches=2000, random_state=0, **parameters)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 30 images, and gaps of at most five."""
    monkeypatch.setattr(lazy_array, "BLOCK_BYTES", 30 * 64)
    monkeypatch.setattr(lazy_array, "GAP_BYTES", 5 * 64)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"sample_weight": np.arange(300) % 3}, {"groups": np.arange(300) // 2}],
)
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", [CKNClassifier, CKNRegressor])
def test_the_same_as_an_array(kind, streaming, arguments, small_blocks):
    expected = make(kind, streaming=streaming).fit(IMAGES, LABELS, **arguments)
    file = File(IMAGES)
    actual = make(kind, streaming=streaming).fit(file, LABELS, **arguments)
    assert actual.alpha_ == expected.alpha_
    assert_array_equal(actual.predict(file), expected.predict(IMAGES))
    for anchors, others in zip(
        actual.features_.anchors_, expected.features_.anchors_, strict=True
    ):
        assert_array_equal(anchors, others)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f2", "f4", "f8", ">f4", "?"])
def test_dtypes(dtype, small_blocks):
    images = IMAGES.astype(dtype)
    expected = make(CKNFeatures).fit(images).transform(images)
    file = File(images)
    actual = make(CKNFeatures).fit(file).transform(file)
    assert actual.dtype == expected.dtype
    assert_array_equal(actual, expected)


def test_layouts(small_blocks):
    for images, shape in [
        (IMAGES.reshape(300, 64), (8, 8)),
        (IMAGES.reshape(300, 8, 4, 2), None),
    ]:
        model = make(CKNFeatures, image_shape=shape)
        assert_array_equal(
            model.fit(File(images)).transform(File(images)),
            model.fit(images).transform(images),
        )


def test_never_read_as_a_whole(small_blocks, monkeypatch):
    # Blocks of features of 40 images.
    monkeypatch.setattr(cache_blocks, "PRODUCT_BLOCK_VALUES", 40 * 32)
    file = File(IMAGES)
    make(streaming=True, **PLAIN).fit(file, LABELS)
    assert max(stop - start for start, stop in file.read) == 40
    before = len(file.read)
    # Only the images of positive weight.
    weights = np.r_[np.ones(250), np.zeros(50)]
    make(streaming=True, **PLAIN).fit(file, LABELS, sample_weight=weights)
    assert max(stop for _, stop in file.read[before:]) == 250


def test_whitening_and_supervised_training(small_blocks):
    whitening = PatchWhitening().fit(IMAGES)
    other = PatchWhitening().fit(File(IMAGES))
    assert_array_equal(other.whitening_, whitening.whitening_)
    assert_array_equal(other.transform(File(IMAGES)), whitening.transform(IMAGES))
    for power in (None, 0.25):
        expected, actual = (
            make(SupervisedCKNClassifier, n_epochs=2, whitening=power).fit(X, LABELS)
            for X in (IMAGES, File(IMAGES))
        )
        assert_array_equal(actual.coef_, expected.coef_)


def test_memory_knows_the_images(tmp_path, small_blocks):
    expected = make(memory=tmp_path).fit(File(IMAGES), LABELS)
    again = make(memory=tmp_path).fit(File(IMAGES), LABELS)
    assert_array_equal(again.coef_, expected.coef_)
    changed = IMAGES.copy()
    changed[200, 3, 3] += 1
    arrays = LazyArray(File(IMAGES)), LazyArray(File(changed))
    assert arrays[0].digest() != arrays[1].digest()
    assert arrays[0].digest() != arrays[0].reshape(300, 64).digest()


def test_features_are_written_to_out(small_blocks, tmp_path):
    model = make(CKNFeatures).fit(IMAGES)
    expected = model.transform(IMAGES)
    out = np.lib.format.open_memmap(
        tmp_path / "features.npy", mode="w+", dtype="f4", shape=expected.shape
    )
    assert model.transform(File(IMAGES), out=out) is out
    assert_array_equal(out, expected)
    wide = np.zeros(expected.shape)
    model.set_output(transform="pandas")
    assert model.transform(IMAGES, out=wide) is wide
    assert_array_equal(wide, expected)
    for bad in (expected[:-1], expected.astype(int), list(expected), None):
        if bad is not None:
            with pytest.raises(ValueError, match=r"out must be an array of floats"):
                model.transform(IMAGES, out=bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad, small_blocks):
    images = IMAGES.astype("f4")
    model = make(CKNFeatures).fit(images)
    images[123, 4, 5] = bad
    for method in (model.fit, model.transform):
        with pytest.raises(ValueError, match="NaN or infinity"):
            method(File(images))


def test_a_block_that_cannot_be_read(small_blocks):
    model = make(streaming=True).fit(IMAGES, LABELS)
    before = model.predict(IMAGES)
    with pytest.raises(OSError, match=r"images .* of X cannot be read: bad sector"):
        model.fit(File(IMAGES, broken=100), LABELS)
    assert_array_equal(model.predict(IMAGES), before)
    with pytest.raises(OSError, match="bad sector"):
        model.predict(File(IMAGES, broken=100))


def test_less_memory_means_smaller_blocks(small_blocks):
    class Small(File):
        def __getitem__(self, rows):
            if rows.stop - rows.start > 8:
                raise MemoryError
            return super().__getitem__(rows)

    model = make(CKNFeatures).fit(IMAGES)
    assert_array_equal(model.transform(Small(IMAGES)), model.transform(IMAGES))


def test_wrong_shapes():
    model = make(CKNFeatures).fit(IMAGES)
    with pytest.raises(ValueError, match=r"fitted on images of shape \(8, 8, 1\)"):
        model.transform(File(IMAGES[:, :7]))
    with pytest.raises(ValueError, match="minimum of 1"):
        model.fit(File(IMAGES[:0]))
    with pytest.warns(UserWarning, match="channels"):
        model.fit(File(np.random.RandomState(0).rand(20, 3, 16, 16)))


def test_a_channel_of_constant_opacity(small_blocks):
    images = np.stack([IMAGES, np.full_like(IMAGES, 255)], axis=3)
    for X in (images, File(images)):
        with pytest.warns(UserWarning, match="opacity"):
            make(CKNFeatures).fit(X)
    images[299, 7, 7, 1] = 254
    make(CKNFeatures).fit(File(images))


def test_functions_that_need_an_array_read_it():
    assert_array_equal(ckn_kernel(File(IMAGES[:5])), ckn_kernel(IMAGES[:5]))


def test_reading(small_blocks):
    array = LazyArray(File(np.arange(200).reshape(100, 2)))
    whole = np.asarray(array)
    rng = np.random.RandomState(0)
    for rows in (
        slice(None),
        slice(10, 95),
        slice(90, 10),
        slice(None, None, 7),
        rng.permutation(100),
        rng.randint(100, size=50),
        np.arange(0),
        rng.rand(100) > 0.5,
    ):
        assert_array_equal(array[rows], whole[rows])
        assert_array_equal(array[rows, ::-1], whole[rows, ::-1])
    chosen = np.flatnonzero(rng.rand(100) > 0.3)
    taken, again = array.take(chosen), array.take(chosen).take(np.arange(5, 30))
    assert_array_equal(taken[3:40], whole[chosen][3:40])
    assert_array_equal(again[:], whole[chosen][5:30])
    assert (len(taken), taken.ndim, taken.size) == (len(chosen), 2, 2 * len(chosen))


def test_neighbours_are_read_together(small_blocks):
    file = File(IMAGES)
    LazyArray(file)[np.array([3, 5, 11, 40, 41, 90])]
    # At most five images lie between two that are read together.
    assert file.read == [(3, 12), (40, 42), (90, 91)]
    file.read.clear()
    LazyArray(file)[np.arange(0, 90, 2)]
    assert file.read == [(0, 29), (30, 59), (60, 89)]


def test_equal_images_are_found(small_blocks):
    images = np.concatenate([IMAGES[:50], IMAGES[10:20], IMAGES[:5]])
    expected = first_copies(images)
    assert_array_equal(first_copies(LazyArray(File(images))), expected)
    assert_array_equal(expected[50:], [*range(10, 20), *range(5)])


def test_what_is_lazy():
    assert is_lazy(File(IMAGES))
    assert not is_lazy(IMAGES)
    assert not is_lazy(IMAGES.tolist())
    assert not is_lazy(File(np.array([["a", "b"]])))
    assert not is_lazy(File(LABELS))


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "digits.h5", "w") as file:
        images = file.create_dataset("images", data=IMAGES, chunks=(50, 8, 8))
        labels = file.create_dataset("labels", data=LABELS)
        model = make(streaming=True).fit(images, labels)
        features = model.features_.transform(IMAGES)
        out = file.create_dataset("features", features.shape, "f4")
        model.features_.transform(images, out=out)
        assert_array_equal(out[:], features)
        expected = make().fit(IMAGES, LABELS).predict(IMAGES)
        assert_array_equal(model.predict(images), expected)


def test_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    images = zarr.open(
        str(tmp_path / "digits"),
        mode="w",
        shape=(300, 8, 8),
        chunks=(50, 8, 8),
        dtype="u1",
    )
    images[:] = IMAGES
    expected = make().fit(IMAGES, LABELS).predict(IMAGES)
    assert_array_equal(
        make(streaming=True).fit(images, LABELS).predict(images), expected
    )
