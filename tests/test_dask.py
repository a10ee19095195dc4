"""Dask arrays in fit and in the methods that map rows, by every scheduler."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain_map import PLAIN
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    PatchWhitening,
    SupervisedCKNClassifier,
)
from sklearn_ckn._common import dask_arrays
from sklearn_ckn._common.dask_arrays import DaskImages

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

DIGITS = load_digits()
# Some images are repeated.
ROWS = np.r_[np.arange(300), np.arange(20)]
IMAGES, LABELS = DIGITS.images[ROWS], DIGITS.target[ROWS]
CHUNKS = (1, 99, 150, 70)


@pytest.fixture(autouse=True, params=["threads", "synchronous"])
def scheduler(request):
    with dask.config.set(scheduler=request.param):
        yield request.param


def chunked(array, chunks=CHUNKS):
    return da.from_array(array, chunks=(chunks, *(-1,) * (array.ndim - 1)))


def make(kind=CKNClassifier, **parameters):
    return kind((6, 8), n_patches=2000, random_state=0, **parameters)


def same_anchors(model, other):
    pairs = zip(model.anchors_, other.anchors_, strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("chunks", [CHUNKS, (320,), (64,) * 5])
@pytest.mark.parametrize("dtype", ["u1", "f8"])
@pytest.mark.parametrize("whitening", [None, 0.25])
def test_the_same_anchors_whatever_the_chunks(chunks, dtype, whitening):
    images = (IMAGES**0.7).astype(dtype)
    model = make(CKNFeatures, whitening=whitening)
    expected = clone(model).fit(images)
    actual = clone(model).fit(chunked(images, chunks))
    assert same_anchors(actual, expected)
    features = actual.transform(chunked(images, chunks))
    assert features.chunks == (chunks, (32,))
    assert features.dtype == expected.transform(images[:1]).dtype
    assert_array_equal(features.compute(), expected.transform(images))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sample_weight": np.arange(320) % 3},
        {"groups": np.arange(320) // 4},
    ],
    ids=["plain", "weights", "groups"],
)
@pytest.mark.parametrize("kind", [CKNClassifier, CKNRegressor])
def test_estimators_with_a_head(kind, arguments):
    expected = make(kind).fit(IMAGES, LABELS, **arguments)
    given = {name: chunked(value) for name, value in arguments.items()}
    X, y = chunked(IMAGES), chunked(LABELS)
    actual = make(kind).fit(X, y, **given)
    assert same_anchors(actual.features_, expected.features_)
    assert (actual.whitening_, actual.flip_average_, actual.normalize_) == (
        expected.whitening_,
        expected.flip_average_,
        expected.normalize_,
    )
    assert actual.alpha_ == expected.alpha_
    # Sums of other blocks, in float64; the smallest alpha is 1e-10.
    assert_allclose(actual.alpha_scores_, expected.alpha_scores_, atol=1e-6)
    assert_allclose(actual.predict(X).compute(), expected.predict(IMAGES), atol=1e-5)
    assert_allclose(actual.score(X, y), expected.score(IMAGES, LABELS), atol=1e-6)
    # The same chunks give the same bits.
    again = make(kind).fit(X, y, **given)
    assert_array_equal(again.coef_, actual.coef_)


def test_lazy_results():
    X = chunked(IMAGES.astype("f4"))
    model = make(**PLAIN).fit(IMAGES.astype("f4"), LABELS)
    # Products of other numbers of rows round the terms of a decision, which logarithms
    # of probabilities divide by the temperature and subtract from each other.
    features = model.features_.transform(IMAGES.astype("f4"))
    largest = (abs(features) @ abs(model.coef_.T) + abs(model.intercept_)).max()
    atol = 2 * np.finfo("f4").eps * largest / min(1, model.temperature_)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        expected = getattr(model, name)(IMAGES.astype("f4"))
        result = getattr(model, name)(X)
        assert isinstance(result, da.Array)
        assert result.chunks[0] == CHUNKS
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        assert isinstance(result._meta, np.ndarray)
        assert (result._meta.ndim, result._meta.dtype) == (result.ndim, result.dtype)
        assert_allclose(result.compute(), expected, atol=atol)
    texts = make(**PLAIN).fit(IMAGES, LABELS.astype("U")).predict(chunked(IMAGES))
    assert texts.dtype == np.dtype("U2") or texts.dtype.kind == "U"
    assert_array_equal(texts.compute(), model.predict(IMAGES).astype("U"))
    two = make(**PLAIN).fit(IMAGES, LABELS > 4)
    assert two.decision_function(X=chunked(IMAGES)).shape == (320,)


def test_standard_deviations():
    targets = np.column_stack([LABELS, LABELS**2.0])
    for y in (targets, targets[:, 0]):
        model = make(CKNRegressor, **PLAIN).fit(IMAGES, y)
        for dtype in ("f8", "f4"):
            expected = model.predict(IMAGES.astype(dtype), return_std=True)
            results = model.predict(chunked(IMAGES.astype(dtype)), return_std=True)
            for result, values in zip(results, expected, strict=True):
                assert (result.shape, result.dtype) == (values.shape, values.dtype)
                # Products of other numbers of rows. In float64, deviations hold the
                # rounding of squares over n alpha, at most 1e-15 / (320 * 1e-10).
                tolerance = {"f8": 1e-6, "f4": 1e-3}[dtype]
                assert_allclose(result.compute(), values, tolerance, tolerance)


def test_whitening():
    whitening = PatchWhitening().fit(IMAGES)
    other = PatchWhitening().fit(chunked(IMAGES))
    assert_array_equal(other.whitening_, whitening.whitening_)
    for images in (IMAGES, IMAGES[..., np.newaxis]):
        result = other.transform(chunked(images))
        assert (result.shape, result.chunks[0]) == (images.shape, CHUNKS)
        assert_array_equal(result.compute(), whitening.transform(images))


def test_rows_with_image_shape():
    rows = IMAGES.reshape(320, 64)
    model = make(CKNFeatures, image_shape=(8, 8))
    actual = clone(model).fit(chunked(rows))
    assert same_anchors(actual, clone(model).fit(rows))
    assert_array_equal(
        actual.transform(chunked(rows)).compute(), actual.transform(rows)
    )


def test_chunks_that_are_refused():
    model = make(CKNFeatures).fit(IMAGES)
    cut = chunked(IMAGES).rechunk({1: 4})
    unknown = chunked(IMAGES)[chunked(LABELS) > 4]
    for method in (model.fit, model.transform):
        with pytest.raises(ValueError, match=r"X.rechunk\(\{0: 'auto', 1: -1, 2: -1"):
            method(cut)
        with pytest.raises(ValueError, match=r"X.compute_chunk_sizes\(\)"):
            method(unknown)
    unknown.compute_chunk_sizes()
    assert len(model.transform(unknown).compute()) == (LABELS > 4).sum()
    # A block without rows.
    few = chunked(IMAGES)[chunked(np.arange(320)) < 90]
    few.compute_chunk_sizes()
    assert few.chunks[0] == (1, 89, 0, 0)
    assert_array_equal(model.transform(few).compute(), model.transform(IMAGES[:90]))
    assert same_anchors(make(CKNFeatures).fit(few), make(CKNFeatures).fit(IMAGES[:90]))


def test_other_errors_are_immediate():
    model = make(CKNFeatures).fit(IMAGES)
    with pytest.raises(ValueError, match="fitted on images of shape"):
        model.transform(chunked(IMAGES[:, :7]))
    with pytest.raises(ValueError, match=r"to_zarr, or dask\.array\.store"):
        model.transform(chunked(IMAGES), out=np.zeros((320, 32)))
    with pytest.raises(ValueError, match="trains on one machine"):
        make(SupervisedCKNClassifier).fit(chunked(IMAGES), chunked(LABELS))
    with pytest.raises(ValueError, match="CPUs of its workers"):
        make(device="cuda").fit(chunked(IMAGES), chunked(LABELS))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(chunked(IMAGES), LABELS[:-1])
    images = IMAGES.copy()
    images[200, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.fit(chunked(images))


def test_a_block_that_cannot_be_read():
    def fails(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 2:
            raise RuntimeError("bad sector")
        return block

    model = make(**PLAIN).fit(IMAGES, LABELS)
    before = model.predict(IMAGES)
    X = chunked(IMAGES).map_blocks(fails, meta=IMAGES[:0])
    with pytest.raises(
        OSError, match=r"Block 2 of X, with the images 100 to 249, ca.*"
    ):
        model.fit(X, LABELS)
    assert_array_equal(model.predict(IMAGES), before)


def test_memory_knows_the_images(tmp_path):
    model = make(memory=tmp_path, **PLAIN)
    expected = clone(model).fit(chunked(IMAGES), LABELS)
    assert_array_equal(clone(model).fit(chunked(IMAGES), LABELS).coef_, expected.coef_)


def test_heads_that_read_many_times(tmp_path):
    expected = make(head="linear_svm", alpha=1e-3, **PLAIN).fit(IMAGES, LABELS)
    for options in ({}, {"streaming": True, "memory": tmp_path}):
        model = make(head="linear_svm", alpha=1e-3, **PLAIN, **options)
        model.fit(chunked(IMAGES), LABELS)
        assert_allclose(model.coef_, expected.coef_, atol=1e-6)


def test_reading(monkeypatch):
    monkeypatch.setattr(dask_arrays, "FETCH_BYTES", 30 * IMAGES[0].nbytes)
    images = DaskImages(chunked(IMAGES))
    rng = np.random.RandomState(0)
    chosen = np.flatnonzero(rng.rand(320) > 0.3)
    for array, expected in [(images, IMAGES), (images.take(chosen), IMAGES[chosen])]:
        assert_array_equal(np.asarray(array), expected)
        for rows in (slice(3, 9), slice(5, 70), slice(20, 10), rng.permutation(200)):
            assert_array_equal(array[rows], expected[rows])
        parts = array.map_blocks(first_values, 2)
        assert_array_equal(np.concatenate(parts), expected[:, 0, 0] + 2)
        places = np.arange(len(expected))
        total = array.reduce_blocks(products, sum, (places,), 3)
        assert_allclose(total, 3 * (places @ expected[:, 2, 2]))


def test_users_of_numpy_import_nothing_of_dask(tmp_path):
    program = """
import sys
import numpy as np
from sklearn_ckn import CKNClassifier

X = np.random.RandomState(0).rand(40, 6, 6)
model = CKNClassifier((4, 4), random_state=0).fit(X, np.arange(40) % 2)
model.predict(X)
print([name for name in sys.modules if name.split(".")[0] in ("dask", "distributed")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def first_values(block, start, shift):
    return block[:, 0, 0] + shift


def products(block, start, arrays, factor):
    (places,) = arrays
    assert_array_equal(places, np.arange(start, start + len(block)))
    return factor * (places @ block[:, 2, 2])


def test_consecutive_slices_are_fetched_together(monkeypatch):
    monkeypatch.setattr(dask_arrays, "FETCH_BYTES", 30 * IMAGES[0].nbytes)
    fetched = []
    compute = DaskImages._compute

    def counting(self, rows):
        fetched.append(len(rows))
        return compute(self, rows)

    monkeypatch.setattr(DaskImages, "_compute", counting)
    images = DaskImages(chunked(IMAGES)).take(np.arange(0, 320, 4))
    for start in range(0, 80, 10):
        assert_array_equal(images[start : start + 10], IMAGES[::4][start : start + 10])
    assert fetched == [30, 30, 20]
