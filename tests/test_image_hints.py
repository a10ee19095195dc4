"""Common mistakes with images: the message says what to do."""

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

import sklearn_ckn
from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    PatchWhitening,
    ckn_kernel,
)

IMAGES = np.random.RandomState(0).randint(1, 256, size=(12, 7, 6, 3)).astype(np.uint8)
LABELS = np.array(["cat", "dog", "owl"])[np.arange(12) % 3]


def make(**parameters):
    return CKNClassifier((3, 4), random_state=0, **parameters)


def in_objects(images):
    """Return an array of objects with one axis, as that of a series of images."""
    objects = np.empty(len(images), dtype=object)
    for i, image in enumerate(images):
        objects[i] = image
    return objects


@pytest.mark.parametrize("wrap", [in_objects, lambda images: pd.Series(list(images))])
@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0]], ids=["colour", "grey"])
def test_objects_that_are_images(wrap, images):
    expected = make().fit(images, LABELS).decision_function(images)
    classifier = make().fit(wrap(images), LABELS)
    assert_array_equal(classifier.decision_function(wrap(images)), expected)
    whitened = PatchWhitening().fit_transform(images)
    assert_array_equal(PatchWhitening().fit_transform(wrap(images)), whitened)


@pytest.mark.parametrize("wrap", [list, in_objects])
@pytest.mark.parametrize(
    ("other", "shape"),
    [(IMAGES[0, :5], "(5, 6, 3)"), (IMAGES[0, ..., 0], "(7, 6)"), (None, "()")],
)
def test_images_of_different_shapes(wrap, other, shape):
    message = f"such as (7, 6, 3) and {shape}.*Crop or resize.*the same channels"
    message = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=message):
        make().fit(wrap([*IMAGES[:11], other]), LABELS)


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        np.array,
        pd.Series,
        lambda names: pd.DataFrame({"file": names}),
        lambda names: np.array(names)[:, np.newaxis],
        lambda names: names[0],
    ],
)
@pytest.mark.parametrize(("kind", "word"), [(str, "strings"), (Path, "paths")])
def test_names_of_files(wrap, kind, word):
    names = wrap([kind(f"{i}.png") for i in range(12)])
    with pytest.raises(ValueError, match=rf"X holds {word}.*'0\.png'.*themselves"):
        make().fit(names, LABELS)
    with pytest.raises(ValueError, match=f"X holds {word}"):
        make().fit(IMAGES, LABELS).predict(names)
    if np.ndim(names):
        with pytest.raises(ValueError, match=f"Y holds {word}"):
            ckn_kernel(IMAGES, names)


@pytest.mark.parametrize(
    ("images", "given", "remedy"),
    [
        (IMAGES, IMAGES[0], lambda X: X[np.newaxis]),
        (IMAGES[..., :1], IMAGES[0, ..., :1], lambda X: X[np.newaxis]),
        (IMAGES[..., 0], IMAGES[0, ..., 0], lambda X: X[np.newaxis]),
        (IMAGES, IMAGES.transpose(0, 3, 1, 2), lambda X: X.transpose(0, 2, 3, 1)),
        (
            IMAGES,
            IMAGES[0].transpose(2, 0, 1),
            lambda X: X.transpose(1, 2, 0)[np.newaxis],
        ),
    ],
)
def test_remedies_for_other_shapes(images, given, remedy):
    classifier = make().fit(images, LABELS)
    with pytest.raises(ValueError, match="fitted on images of shape") as raised:
        classifier.predict(given)
    expression = r"pass (X(?:\.transpose\([\d, ]+\))?(?:\[np\.newaxis\])?)"
    (advice,) = re.findall(expression, str(raised.value))
    assert_array_equal(eval(advice, {"X": given, "np": np}), remedy(given))
    expected = classifier.predict(images[: len(remedy(given))])
    assert_array_equal(classifier.predict(remedy(given)), expected)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0]], ids=["colour", "grey"])
def test_one_image_that_is_no_array(images):
    image = pytest.importorskip("PIL.Image")
    classifier = make().fit(images, LABELS)
    expected = classifier.predict(images[:1])
    for given in (images[0].tolist(), image.fromarray(images[0])):
        with pytest.raises(ValueError, match=r"one image: pass \[X\], a batch of one"):
            classifier.predict(given)
        assert_array_equal(classifier.predict([given]), expected)
    # Its rows are not taken for images either.
    with pytest.raises(ValueError, match=r"one image: pass \[X\], a batch of one"):
        CKNFeatures(3).fit(image.fromarray(images[0]))


@pytest.mark.parametrize("mode", ["P", "PA"])
@pytest.mark.parametrize(
    "wrap", [list, pd.Series, lambda pictures: pd.DataFrame({"image": pictures})]
)
def test_pictures_with_a_palette(wrap, mode):
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(each) for each in IMAGES]
    grey = [each.convert("L") for each in pictures]
    # One among grey pictures has their shape.
    palette = pictures[4].convert("P")
    given = [*grey[:4], palette if mode == "P" else palette.convert("PA"), *grey[5:]]
    with pytest.raises(ValueError, match=rf"Image 4 of X .*\(mode '{mode}'\).*convert"):
        make().fit(wrap(given), LABELS)
    given[4] = grey[4]
    expected = make().fit(np.stack(grey), LABELS).decision_function(np.stack(grey))
    classifier = make().fit(wrap(given), LABELS)
    assert_array_equal(classifier.decision_function(wrap(given)), expected)


@pytest.mark.parametrize("empty", [[], (), np.array([]), pd.Series([])])
def test_no_images(empty):
    with pytest.raises(ValueError, match="X is empty: CKNClassifier needs one image"):
        make().fit(empty, [])
    with pytest.raises(ValueError, match="X is empty: CKNClassifier needs one image"):
        make().fit(IMAGES, LABELS).predict(empty)


def test_another_shape_has_no_remedy():
    with pytest.raises(ValueError, match=r"of shape \(7, 6, 3\)\.$"):
        make().fit(IMAGES, LABELS).predict(IMAGES[:, :5])


# Bands first: any number of them before square images; three before any; and others
# before pictures of 16 pixels or more that are not too long.
BANDS_FIRST = [
    *((n_bands, 6, 6) for n_bands in (1, 2, 3, 4, 5, 7, 8, 13)),
    (13, 64, 64),
    (200, 9, 9),
    (3, 8, 6),
    (3, 20, 90),
    (2, 32, 24),
    (5, 40, 48),
    (13, 32, 16),
    (4, 16, 17),
]
# Channels last, or too uncertain: signals; what any picture may be with four channels;
# hyperspectral patches, boards and maps, whose height is not the shortest axis; small
# or long strips.
CHANNELS_LAST = [
    (1, 20, 8),
    (1, 100, 64),
    (8, 8, 3),
    (4, 8, 4),
    (2, 9, 2),
    (8, 8, 6),
    (9, 9, 200),
    (8, 8, 12),
    (19, 19, 17),
    (3, 3, 256),
    (3, 8, 3),
    (6, 6, 6),
    (4, 8, 6),
    (5, 100, 16),
    (5, 12, 10),
    (20, 12, 16),
]


@pytest.mark.parametrize("shape", BANDS_FIRST)
def test_channels_first_warn(shape):
    images = np.random.RandomState(0).rand(12, *shape)
    with pytest.warns(UserWarning, match=r"pass X\.transpose\(0, 2, 3, 1\)") as record:
        make().fit(images, LABELS)
    assert len(record) == 1
    assert record[0].filename == __file__
    # Warnings are errors here.
    make(image_shape=shape).fit(images, LABELS)


@pytest.mark.parametrize("shape", CHANNELS_LAST)
def test_channels_last_do_not_warn(shape):
    CKNFeatures(3, random_state=0).fit(np.random.RandomState(0).rand(12, *shape))


@pytest.mark.parametrize("n_channels", [1, 3])
def test_opacity_warns(n_channels):
    opaque = np.full((12, 7, 6, 1), 255, dtype=np.uint8)
    images = np.concatenate([IMAGES[..., :n_channels], opaque], axis=3)
    with pytest.warns(UserWarning, match="as opacity often is") as record:
        make().fit(images, LABELS)
    assert len(record) == 1
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(image_shape=images.shape[1:]).fit(images, LABELS)
        images[0, 0, 0, -1] = 0
        make().fit(images, LABELS)


def test_a_constant_column_is_no_opacity():
    rows = np.random.RandomState(0).rand(12, 4)
    rows[:, -1] = 1
    with pytest.warns(UserWarning, match="image of one pixel") as record:
        make().fit(rows, LABELS)
    assert len(record) == 1


def test_sources_without_compiled_modules(tmp_path):
    source = Path(sklearn_ckn.__file__).parent
    shutil.copytree(
        source,
        tmp_path / "sklearn_ckn",
        ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"),
    )
    result = subprocess.run(
        [sys.executable, "-c", "import sklearn_ckn"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "start it elsewhere" in result.stderr
