"""ContributionDisplay: sums, gradients, occlusion, a planted mark, and errors."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    ContributionDisplay,
    SupervisedCKNClassifier,
)
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._explanations import (
    Decision,
    occlusion_change,
    pixel_gradient,
    position_borders,
    position_parts,
)
from sklearn_ckn._input.images import Images
from sklearn_ckn._network.whitening import learn_whitening

RNG = np.random.RandomState(0)
#: Away from zero, where networks are not differentiable.
IMAGES = 1 + RNG.rand(60, 9, 7, 2)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]
EPS = np.finfo(np.float64).eps
#: Whitening, mirror images and normalization.
MAPS = [
    (None, False, 0.0),
    (None, True, 0.5),
    (0.25, False, 1.0),
    (0.25, True, 0.5),
]


def fit(labels=LABELS, images=IMAGES, cls=CKNClassifier, **parameters):
    options = {
        "n_anchors": (4, 6),
        "n_patches": 500,
        "whitening": None,
        "flip_average": False,
        "normalize": 0.0,
        "alpha": 1e-3,
        "random_state": 0,
    }
    return cls(**{**options, **parameters}).fit(images, labels)


def size_of_terms(decision, image):
    """Return the sum of the absolute values that a decision is the sum of."""
    features = decision.features.transform(image[np.newaxis])[0]
    return abs(features * decision.coef).sum() + abs(decision.intercept)


def signals(n=40, length=24):
    rng = np.random.RandomState(1)
    return 1 + rng.rand(n, 1, length, 2), np.arange(n) % 2


@pytest.mark.parametrize(("whitening", "flip_average", "normalize"), MAPS)
@pytest.mark.parametrize("target", [None, "a", "b", "c"])
def test_parts_of_positions_add_up(whitening, flip_average, normalize, target):
    model = fit(whitening=whitening, flip_average=flip_average, normalize=normalize)
    image = IMAGES[5]
    decisions = model.decision_function(image[np.newaxis])[0]
    decision = Decision.from_estimator(model, image, target)
    expected_target = model.classes_[decisions.argmax()] if target is None else target
    assert decision.target == expected_target
    expected = decisions[list(model.classes_).index(expected_target)]
    parts, offset = position_parts(decision, image)
    assert parts.shape == model.features_.output_shape_[:2]
    # Sums of less than 100 terms.
    atol = 100 * EPS * size_of_terms(decision, image)
    assert_allclose(parts.sum() + offset, expected, rtol=0, atol=atol)
    # Each part is that of the features of one position.
    features = model.features_.transform(image[np.newaxis])[0]
    maps = features.reshape(model.features_.output_shape_)
    weights = decision.coef.reshape(maps.shape)
    assert_allclose(parts[2, 1], maps[2, 1] @ weights[2, 1], rtol=0, atol=atol)
    # Compared with the mean of other images.
    centred, mean = position_parts(decision, image, Images(IMAGES, 2.0))
    assert_allclose(centred.sum() + mean, expected, rtol=0, atol=10 * atol)
    assert_allclose(mean, decision.values(IMAGES).mean(), rtol=0, atol=10 * atol)


def test_two_classes():
    model = fit(np.arange(60) % 2)
    image = IMAGES[3]
    value = model.decision_function(image[np.newaxis])[0]
    first, second, predicted = (
        Decision.from_estimator(model, image, target) for target in (0, 1, None)
    )
    atol = 100 * EPS * size_of_terms(second, image)
    assert_allclose(second.values(image[np.newaxis]), value, rtol=0, atol=atol)
    assert_allclose(first.values(image[np.newaxis]), -value, rtol=0, atol=atol)
    assert predicted.target == int(value > 0)
    assert_array_equal(first.coef, -second.coef)


def test_regression(pyplot):
    targets = RNG.randn(60, 2)
    image = IMAGES[2]
    model = fit(targets, cls=CKNRegressor)
    display = ContributionDisplay.from_estimator(model, image, target=1)
    decision = Decision.from_estimator(model, image, 1)
    atol = 100 * EPS * size_of_terms(decision, image)
    expected = model.predict(image[np.newaxis])[0, 1]
    assert_allclose(display.decision, expected, rtol=0, atol=atol)
    total = display.contributions.sum() + display.offset
    assert_allclose(total, expected, rtol=0, atol=atol)
    assert display.ax_.get_title().startswith("prediction of target 1: ")
    with pytest.raises(ValueError, match=r"target must be given: .* 2 targets"):
        ContributionDisplay.from_estimator(model, image)
    with pytest.raises(ValueError, match="target must be one of 0, 1, got 2"):
        ContributionDisplay.from_estimator(model, image, target=2)
    single = fit(targets[:, 0], cls=CKNRegressor)
    display = ContributionDisplay.from_estimator(single, image, method="gradient")
    assert display.target == 0
    assert display.offset is None
    assert display.ax_.get_title().startswith("prediction: ")


def check_gradient(decision, image, seed=0):
    """Compare the gradient with central differences in random directions.

    With steps h and h / 2 extrapolated to 0 their error is of the order h^4; the
    difference from the result without extrapolation bounds it.
    """
    rng = np.random.RandomState(seed)
    gradient = pixel_gradient(decision, image)
    assert gradient.shape == image.shape
    for _ in range(3):
        direction = rng.randn(*image.shape)
        coarse, fine = (
            np.subtract(
                *decision.values(
                    np.stack([image + h * direction, image - h * direction])
                )
            )
            / (2 * h)
            for h in (1e-3, 5e-4)
        )
        expected = fine + (fine - coarse) / 3
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        error = 0.1 * abs(fine - coarse) + 1e-8 * size
        assert abs((gradient * direction).sum() - expected) <= error


@pytest.mark.parametrize(("whitening", "flip_average", "normalize"), MAPS)
@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_gradient_by_finite_differences(whitening, flip_average, normalize, unit):
    model = fit(
        images=IMAGES * unit,
        whitening=whitening,
        flip_average=flip_average,
        normalize=normalize,
    )
    decision = Decision.from_estimator(model, IMAGES[4] * unit, "b")
    # As a function of the image in the unit 1.
    gradient = pixel_gradient(decision, IMAGES[4] * unit) * unit
    rng = np.random.RandomState(0)
    direction, step = rng.randn(*gradient.shape), 1e-4
    pair = np.stack([IMAGES[4] + step * direction, IMAGES[4] - step * direction])
    expected = np.subtract(*decision.values(pair * unit)) / (2 * step)
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    # Central differences: errors of step^2, times third derivatives of the order of
    # the first, and of the rounding of features, which weights multiply by 1e3, over
    # the step.
    assert abs((gradient * direction).sum() - expected) <= 1e-6 * size + 1e-8
    if unit == 1:
        check_gradient(decision, IMAGES[4])


def test_gradient_of_signals_and_branches():
    X, y = signals()
    for parameters in (
        {},
        {"differences": True},
        {"branches": [{"dilation": 2}, {"differences": True, "n_anchors": 5}]},
    ):
        for images in (X, X.swapaxes(1, 2)):
            model = fit(y, images, n_anchors=5, patch_size=3, **parameters)
            check_gradient(Decision.from_estimator(model, images[3], 1), images[3])


def test_gradient_of_supervised_training():
    model = fit(cls=SupervisedCKNClassifier, n_epochs=2, whitening=0.25)
    decision = Decision.from_estimator(model, IMAGES[4], "c")
    expected = model.decision_function(IMAGES[4:5])[0, 2]
    atol = 100 * EPS * size_of_terms(decision, IMAGES[4])
    assert_allclose(decision.values(IMAGES[4:5])[0], expected, rtol=0, atol=atol)
    parts, offset = position_parts(decision, IMAGES[4])
    assert_allclose(parts.sum() + offset, expected, rtol=0, atol=atol)
    check_gradient(decision, IMAGES[4])


@pytest.mark.parametrize("shape", [(7, 6, 2), (1, 9, 1), (9, 1, 2), (2, 2, 1)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_transpose_of_whitening(shape, dtype):
    rng = np.random.RandomState(0)
    images, others = rng.randn(2, 20, *shape).astype(dtype)
    engine = CPUEngine()
    whitening = learn_whitening(Images(images, abs(images).max()), 0.25, engine)
    mapped = whitening.apply(images, np.dtype(dtype), engine)
    transposed = whitening.apply_transposed(others, engine)
    assert transposed.dtype == dtype
    # <W x, y> = <x, W^T y>; rounding of sums of less than 100 products.
    left, right = (
        (a.astype("f8") * b).sum() for a, b in ((mapped, others), (images, transposed))
    )
    size = np.linalg.norm(mapped) * np.linalg.norm(others)
    assert abs(left - right) <= 100 * np.finfo(dtype).eps * size
    assert abs(left) > 1e-3 * size


def test_blank_surroundings_have_no_gradient():
    rng = np.random.RandomState(0)
    images = np.zeros((40, 12, 12))
    images[:, :4, :4] = 1 + rng.rand(40, 4, 4)
    model = fit(np.arange(40) % 2, images, n_anchors=4, subsampling=2)
    decision = Decision.from_estimator(model, images[0][..., np.newaxis], 1)
    gradient = pixel_gradient(decision, images[0][..., np.newaxis])[..., 0]
    # Pixels that share a patch of 3 x 3 with one that is not zero; up to rounding, as
    # tiles of pixels are computed together.
    size = abs(gradient).max()
    assert (abs(gradient[:6, :6]) > 1e-6 * size).any(axis=1).all()
    assert_allclose(gradient[6:], 0, rtol=0, atol=1e-13 * size)
    assert_allclose(gradient[:, 6:], 0, rtol=0, atol=1e-13 * size)


def test_occlusion_in_plain_loops():
    model = fit()
    image = IMAGES[1]
    decision = Decision.from_estimator(model, image, "a")
    mean = image.mean(axis=(0, 1))
    whole = decision.values(image[np.newaxis])[0]
    values = [[[] for _ in range(7)] for _ in range(9)]
    # Windows of 3 x 3 every 2 pixels; the last ones end with the image.
    for top in (0, 2, 4, 6):
        for left in (0, 2, 4):
            hidden = image.copy()
            hidden[top : top + 3, left : left + 3] = mean
            change = whole - decision.values(hidden[np.newaxis])[0]
            for row in range(top, top + 3):
                for column in range(left, left + 3):
                    values[row][column].append(change)
    expected = [[np.mean(changes) for changes in row] for row in values]
    actual = occlusion_change(decision, image, 3, 2)
    atol = 200 * EPS * size_of_terms(decision, image)
    assert_allclose(actual, expected, rtol=0, atol=atol)
    # By default an eighth of each side, in steps of half of it.
    assert_array_equal(
        occlusion_change(decision, image), occlusion_change(decision, image, 1, 1)
    )
    X, y = signals()
    decision = Decision.from_estimator(fit(y, X, n_anchors=5), X[0], 1)
    assert_array_equal(
        occlusion_change(decision, X[0]), occlusion_change(decision, X[0], 3, 1)
    )
    # A step beyond a side of the window leaves no pixel out.
    assert np.isfinite(occlusion_change(decision, X[0], 5, 5)).all()


@pytest.fixture(scope="module")
def marked():
    """A model that sees classes by a mark in a corner, and an image with the mark."""
    rng = np.random.RandomState(0)
    images = gaussian_filter(rng.randn(300, 16, 16), (0, 1, 1))
    labels = np.arange(300) % 2
    images[labels == 1, 1:4, 12:15] += 2
    options = {"n_anchors": (16, 32), "n_patches": 5000, "alpha": 1e-2}
    model = fit(labels[:250], images[:250], **options)
    assert model.score(images[250:], labels[250:]) > 0.95
    return model, images, images[251]


@pytest.mark.parametrize("method", ["positions", "gradient", "occlusion"])
def test_a_planted_mark_is_found(marked, method, pyplot):
    model, images, image = marked
    display = ContributionDisplay.from_estimator(
        model, image, target=1, method=method, reference=images[:250]
    )
    assert display.target == 1
    values = display.contributions
    if method == "positions":
        # The mark is in the upper two positions on the right.
        rows, columns = display.borders
        assert rows[2] > 4
        assert columns[-2] < 12
        assert values[:2, -1].sum() > abs(values).sum() / 2
        return
    if method == "gradient":
        values = np.linalg.norm(values, axis=-1)
    # The part of the image with the mark and the pixels that share patches with it.
    around = values[:6, 10:]
    assert abs(around).mean() > 2 * abs(values).mean()
    if method == "occlusion":
        assert around.max() == values.max()


@pytest.mark.parametrize("subsampling", [(2, 2), (2, 3), (1, 4), (3, "auto")])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_borders_of_positions(subsampling, padding):
    images = RNG.rand(10, 17, 13)
    model = fit(
        np.arange(10) % 2,
        images,
        n_anchors=(3, 3),
        n_patches=100,
        subsampling=subsampling,
        padding=padding,
    )
    features = model.features_
    for axis in (0, 1):
        borders = position_borders(features, axis)
        assert len(borders) == features.output_shape_[axis] + 1
        assert borders[0] == -0.5
        assert borders[-1] == features.image_shape_[axis] - 0.5
        assert (np.diff(borders) > 0).all()
        strides = np.prod(features.subsampling_)
        assert_allclose(np.diff(borders[1:-1]), strides)


def test_picture(pyplot):
    model = fit()
    figure, ax = pyplot.subplots()
    display = ContributionDisplay.from_estimator(
        model, IMAGES[0], target="b", method="gradient", ax=ax, cmap="PiYG", alpha=0.4
    )
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.get_title() == f"decision for class b: {display.decision:.3g}"
    mesh = ax.collections[0]
    drawn = display.contributions.sum(axis=-1)
    assert_allclose(np.reshape(mesh.get_array(), (9, 7)), drawn)
    low, high = mesh.get_clim()
    assert -low == high == abs(drawn).max()
    assert mesh.get_cmap().name == "PiYG"
    assert len(figure.axes) == 2
    assert ax.get_ylim() == (8.5, -0.5)
    figure.canvas.draw()
    _, ax = pyplot.subplots()
    display.plot(ax=ax, colorbar=False)
    assert len(ax.figure.axes) == 1
    blank = ContributionDisplay(IMAGES[0], np.zeros((9, 7)), decision=0.0).plot()
    assert blank.ax_.collections[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("method", ["positions", "gradient", "occlusion"])
@pytest.mark.parametrize("upright", [False, True])
def test_signals_are_curves(method, upright, pyplot):
    X, y = signals()
    if upright:
        X = X.swapaxes(1, 2)
    model = fit(y, X, n_anchors=5, patch_size=3)
    display = ContributionDisplay.from_estimator(model, X[0], method=method)
    ax = display.ax_
    assert len(ax.lines) == 2
    assert_array_equal(ax.lines[1].get_ydata(), X[0].reshape(-1, 2)[:, 1])
    assert ax.get_xlim() == (-0.5, 23.5)
    drawn = display.contributions
    if method == "gradient":
        drawn = drawn.sum(axis=-1)
    assert_allclose(np.ravel(ax.collections[0].get_array()), np.ravel(drawn))
    display.figure_.canvas.draw()


def test_layouts_and_dtypes_of_an_image(pyplot):
    images = RNG.randint(256, size=(60, 6, 6)).astype(np.uint8)
    model = fit(images=images)
    display = ContributionDisplay.from_estimator(model, images[0])
    # Features in float32 are within 1e-5 of those in float64.
    expected = model.decision_function(images[:1])[0].max()
    image = images[0].astype(np.float64)[..., np.newaxis]
    atol = 1e-5 * size_of_terms(Decision.from_estimator(model, image, None), image)
    assert_allclose(display.decision, expected, rtol=0, atol=atol)
    for other in (images[0].ravel(), images[0].tolist(), images[0][..., np.newaxis]):
        again = ContributionDisplay.from_estimator(model, other)
        assert_array_equal(again.contributions, display.contributions)


def test_errors(monkeypatch):
    model = fit()
    explain = ContributionDisplay.from_estimator
    with pytest.raises(NotFittedError):
        explain(CKNClassifier(), IMAGES[0])
    for other in (CKNFeatures(n_anchors=2).fit(IMAGES), make_pipeline(model)):
        with pytest.raises(TypeError, match="estimator must be a CKNClassifier"):
            explain(other, IMAGES[0])
    for image in (IMAGES[0, 1:], IMAGES[:1]):
        with pytest.raises(ValueError, match=r"one image of shape \(9, 7, 2\)"):
            explain(model, image)
    with pytest.raises(ValueError, match="target must be one of 'a', 'b', 'c', got 1"):
        explain(model, IMAGES[0], target=1)
    with pytest.raises(ValueError, match="method must be one of 'positions'"):
        explain(model, IMAGES[0], method="shap")
    with pytest.raises(ValueError, match="shape"):
        explain(model, IMAGES[0], reference=IMAGES[:, 1:])
    for name, value, largest in (
        ("window", 0, 9),
        ("window", 10, 9),
        ("window", 2.5, 9),
        ("step", 0, 1),
        ("step", 2, 1),
    ):
        message = f"{name} must be None or an integer from 1 to {largest}, got {value}"
        with pytest.raises(ValueError, match=message):
            explain(model, IMAGES[0], method="occlusion", **{name: value})
    with pytest.raises(ValueError, match=r'one position.*"gradient" or "occlusion"'):
        explain(fit(subsampling="global"), IMAGES[0])
    branches = fit(branches=[{"n_anchors": 3}, {"n_anchors": 4}])
    with pytest.raises(ValueError, match=r'branches.*"gradient" or "occlusion"'):
        explain(branches, IMAGES[0])
    # Layers without gradient.
    settings = model.features_._network.settings[0]
    monkeypatch.setitem(vars(settings), "keep_norm", False)
    with pytest.raises(ValueError, match=r'keep_norm=False.*use "occlusion"'):
        explain(model, IMAGES[0], method="gradient")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"ContributionDisplay.*sklearn-ckn\[plot\]"):
        explain(model, IMAGES[0])
