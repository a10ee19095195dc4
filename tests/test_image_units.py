"""Images in other units than those of the fit: a warning that names the remedy."""

import pickle
import warnings

import numpy as np
import pytest

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._input.images import check_images
from sklearn_ckn._input.magnitudes import N_IMAGES, N_PLACES, UsualMagnitudes

OTHER_UNITS = "other units than the images of the fit"


class File:
    """Images that are read by slices, which are noted."""

    def __init__(self, images):
        self._images = images
        self.shape, self.dtype = images.shape, images.dtype
        self.read = []

    def __getitem__(self, rows):
        self.read.append(rows)
        return self._images[rows]


@pytest.fixture(scope="module")
def photographs():
    """Noisy uint8 images, from dark to bright, and labels."""
    rng = np.random.RandomState(0)
    contrast = np.linspace(0.2, 1, 60)[:, np.newaxis, np.newaxis, np.newaxis]
    images = (255 * contrast * rng.rand(60, 6, 6, 3)).astype(np.uint8)
    return images, np.arange(60) % 2


def make(estimator=CKNFeatures, **parameters):
    return estimator((3, 4), n_patches=500, random_state=0, **parameters)


def messages(method, X):
    """Return the warnings of a method, which is called with images."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        method(X)
    assert {each.filename for each in record} <= {__file__}
    return [str(each.message) for each in record]


@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (CKNFeatures, "transform"),
        (CKNClassifier, "predict"),
        (CKNClassifier, "predict_proba"),
        (CKNClassifier, "decision_function"),
        (CKNRegressor, "predict"),
        (SupervisedCKNClassifier, "predict"),
    ],
)
def test_other_units_warn(estimator, method, photographs):
    epochs = {"n_epochs": 1} if estimator is SupervisedCKNClassifier else {}
    model = make(estimator, **epochs).fit(*photographs)
    call = getattr(model, method)
    images = photographs[0]
    for given in (images, images[:1], images[-1:], images.astype(np.float32)):
        assert messages(call, given) == []
    for given in (images / 255, images[40:41] / 255.0):
        (message,) = messages(call, given)
        assert OTHER_UNITS in message
        assert "about 2" in message
        assert "times smaller" in message
        assert "multiply X by the ratio" in message
    (message,) = messages(call, images * 257.0)
    assert "about 260 times larger" in message
    assert "divide X by the ratio" in message


def test_fractions_at_fit_and_grey_levels_later(photographs):
    images, labels = photographs
    model = make(CKNClassifier).fit(images / 255, labels)
    assert messages(model.predict, images / 255) == []
    for given in (images, images[40:41]):
        (message,) = messages(model.predict, given)
        assert "times larger" in message


@pytest.mark.parametrize("factor", [0.3, 3])
def test_a_small_factor_does_not_warn(factor, photographs):
    model = make().fit(photographs[0])
    assert messages(model.transform, factor * photographs[0]) == []


def test_dark_images_do_not_warn(photographs):
    images = photographs[0]
    model = make().fit(images)
    dark = images[59:] / 50
    # Beside others, too.
    for given in (dark, np.concatenate([dark, images]), images[:3] // 20):
        assert messages(model.transform, given) == []
    blank, grey = np.zeros_like(images), np.full_like(images, 2)
    for given in (blank[:1], blank, grey[:1]):
        assert messages(model.transform, given) == []
    # Many of them are no exception any more.
    (message,) = messages(model.transform, images / 100)
    assert "times smaller" in message


def test_one_bright_pixel_does_not_warn(photographs):
    images = photographs[0].astype(float)
    model = make().fit(images)
    images[3, 2, 2] = 1e7
    assert messages(model.transform, images) == []


def test_the_level_of_signals_is_no_unit():
    rng = np.random.RandomState(0)
    signals = rng.randn(40, 1, 30, 2)
    model = make(image_shape=(1, 30, 2)).fit(signals + 1000)
    assert messages(model.transform, signals) == []
    assert messages(model.transform, signals + 5e4) == []
    for factor in (1e-3, 1e3):
        (message,) = messages(model.transform, factor * (signals + 1000))
        assert "about 1000 times" in message


def test_images_of_one_pixel(photographs):
    pixels = photographs[0][:, :1, :1]
    model = make().fit(pixels)
    assert messages(model.transform, pixels) == []
    assert len(messages(model.transform, pixels / 255)) == 1


@pytest.mark.parametrize("exponent", [-300, 300])
def test_units_at_the_ends_of_float64(exponent, photographs):
    images = photographs[0] / 255
    model = make().fit(images)
    (message,) = messages(model.transform, images * 10.0**exponent)
    assert "e+300 times" in message
    model.fit(images * 10.0**exponent)
    assert messages(model.transform, images * 10.0**exponent) == []


def test_blank_training_images(photographs):
    with pytest.warns(UserWarning, match="distinct"):
        model = make().fit(np.zeros((5, 6, 6, 3)))
    assert messages(model.transform, photographs[0]) == []


def test_features_of_unit_norm_have_no_unit(photographs):
    images = photographs[0]
    unit = {"normalize": 1.0}
    for parameters in (unit, {"branches": [unit, {**unit, "patch_size": 2}]}):
        model = make(**parameters).fit(images)
        assert messages(model.transform, images / 255) == []
    half = make(branches=[{"normalize": 1.0}, {}]).fit(images)
    assert len(messages(half.transform, images / 255)) == 1
    # Each branch is an estimator of its own.
    normalized, plain = half.branches_
    assert messages(normalized.transform, images / 255) == []
    assert len(messages(plain.transform, images / 255)) == 1


def test_images_in_files_and_pickles(photographs):
    images = photographs[0]
    model = pickle.loads(pickle.dumps(make().fit(File(images))))
    assert messages(model.transform, File(images)) == []
    assert len(messages(model.transform, File(images / 255))) == 1
    # Models of earlier versions do not know their images.
    del model._usual
    assert messages(model.transform, images / 255) == []


def test_dask_arrays(photographs):
    array = pytest.importorskip("dask.array")
    images = photographs[0]
    model = make().fit(array.from_array(images, chunks=(20, 6, 6, 3)))
    assert messages(model.transform, images) == []
    assert len(messages(model.transform, images / 255)) == 1


def test_few_of_many_images_are_read(monkeypatch):
    monkeypatch.setattr("sklearn_ckn._common.lazy_array.GAP_BYTES", 0)
    # Their dtype bounds them, so that no reading is needed for their range.
    file = File(np.random.RandomState(0).randint(0, 256, (5000, 4, 4), np.uint8))
    images = check_images(make(), file, reset=True)
    UsualMagnitudes.of_images(images)
    assert len(file.read) == N_PLACES
    assert sum(rows.stop - rows.start for rows in file.read) == N_IMAGES
    assert file.read[0].start == 0
    assert file.read[-1].stop == 5000
