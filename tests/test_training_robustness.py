"""Supervised training on images that tell little, of any unit and any contrast."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNClassifier, SupervisedCKNClassifier

HEADS = ["ridge", "linear_svm", "logistic"]


def make(**parameters):
    defaults = {"n_anchors": (4, 6), "n_epochs": 2, "n_patches": 500}
    defaults |= {"random_state": 0}
    return SupervisedCKNClassifier(**{**defaults, **parameters})


def fitted_arrays(classifier):
    """Return all numbers that a fit has found."""
    history = classifier.history_
    return [
        classifier.coef_,
        classifier.intercept_,
        classifier.alpha_,
        classifier.alphas_,
        classifier.temperature_,
        classifier.training_alpha_,
        classifier.features_.betas_,
        *classifier.features_.anchors_,
        history["objective"],
        history["batch_loss"][1:],
    ]


def assert_finite(classifier):
    for array in fitted_arrays(classifier):
        assert np.isfinite(array).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": False},
        {"augment": "flip+shift", "flip_average": True},
        {"learn_beta": True, "alpha": 1e-3},
        {"class_weight": "balanced", "batch_size": 7},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Layer . has . distinct patches")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_images_that_are_all_the_same(value, head, options):
    # What is known of them is how frequent the classes are: 3 : 2 : 1.
    labels = np.tile([0, 0, 0, 1, 1, 2], 20)
    images = np.full((120, 6, 6), value)
    trained = make(head=head, **options).fit(images, labels)
    assert_finite(trained)
    start = CKNClassifier((4, 6), n_patches=500, random_state=0, head=head)
    start.set_params(
        **{name: options[name] for name in ("alpha", "class_weight") if name in options}
    )
    expected = start.fit(images, labels).predict_proba(images[:1])
    # The intercepts of Newton's method are within a part of 1e-4 of the minimum of the
    # loss, whose second derivative is about 0.1: by sqrt(2e-4 / 0.1) from its place.
    assert_allclose(trained.predict_proba(images[:1]), expected, atol=0.05)
    if "class_weight" not in options:
        assert (trained.predict(images) == 0).all()


@pytest.mark.parametrize("head", HEADS)
def test_some_images_are_blank(head, digits):
    images, labels = digits[0][:200].astype("f4"), digits[1][:200]
    images[::3] = 0
    trained = make(head=head, alpha=1e-3).fit(images, labels)
    assert_finite(trained)
    start = CKNClassifier((4, 6), n_patches=500, random_state=0, head=head, alpha=1e-3)
    # What was held out, 20 images, has preferred what was learned, if anything.
    expected = start.fit(images, labels).score(images, labels)
    assert trained.score(images, labels) > expected - 0.1


@pytest.mark.parametrize("offset", [0, 16, 100])
@pytest.mark.parametrize("head", HEADS)
def test_no_contrast_makes_the_head_diverge(head, offset, digits):
    # Ten times the objective of the start is the loss of a head that has followed the
    # anchors late; plain steps reached 1e30 and more.
    images, labels = digits[0][:300].astype("f8") + offset, digits[1][:300]
    options = {"early_stopping": False, "alpha": 1e-4}
    trained = make(n_anchors=(8, 16), head=head, **options).fit(images, labels)
    history = trained.history_
    assert max(history["batch_loss"][1:]) < 10 * history["objective"][0]
    assert max(history["objective"]) < 1.1 * history["objective"][0]


def test_noise_of_which_nothing_can_be_learned():
    rng = np.random.RandomState(0)
    images = rng.randint(0, 255, size=(2000, 8, 8, 3)).astype("u1")
    trained = make(n_epochs=1).fit(images, np.arange(2000) % 10)
    assert_finite(trained)
    assert trained.history_["batch_loss"][1] < 10 * trained.history_["objective"][0]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("exponents", [("f4", (-60, 60)), ("f8", (-400, 400))])
def test_a_power_of_two_as_unit_changes_nothing(exponents, head, digits):
    dtype, exponents = exponents
    images, labels = digits[0][:120].astype(dtype), digits[1][:120] % 3
    expected = make(head=head, alpha=1e-3, learn_beta=True).fit(images, labels)
    # A power of two is exact in every product, but not where heads choose a unit of
    # their own: the objective is then the same to rounding, times a condition of 1e3.
    tolerance = 1e4 * np.finfo(dtype).eps
    for exponent in exponents:
        scaled = np.ldexp(images, exponent)
        trained = make(head=head, alpha=1e-3, learn_beta=True).fit(scaled, labels)
        assert_allclose(
            trained.history_["objective"],
            expected.history_["objective"],
            rtol=max(tolerance, 2e-4 if head != "ridge" else 0),
        )
        assert_array_equal(trained.predict(scaled), expected.predict(images))
        assert trained.best_epoch_ == expected.best_epoch_


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("dtype", "units"),
    [("f4", (1e-40, 1e-30, 1e37)), ("f8", (1e-300, 1e-170, 1e155, 1e300))],
)
def test_units_at_the_ends_of_the_range(dtype, units, head, digits):
    images, labels = digits[0][:120] / 16, digits[1][:120] % 3
    expected = make(head=head).fit(images, labels).score(images, labels)
    for unit in units:
        scaled = (images * unit).astype(dtype)
        trained = make(head=head).fit(scaled, labels)
        assert_finite(trained)
        # One or two images on the boundary may be rounded to the other side.
        assert abs(trained.score(scaled, labels) - expected) < 0.02


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 1e300},
        {"learning_rate": 5e-324},
        {"batch_size": 10**12},
        {"batch_size": 1},
        {"alpha": 1e100},
        {"alpha": 1e-100},
        {"n_iter_no_change": 10**12},
        {"validation_fraction": 1 - 1e-12},
        {"validation_fraction": 1e-300},
    ],
    ids=str,
)
def test_parameters_far_out_of_range(options, digits):
    images, labels = digits[0][:60].astype("f8"), digits[1][:60] % 2
    trained = make(**{"learn_beta": True, **options}).fit(images, labels)
    assert_finite(trained)
    objective = trained.history_["objective"]
    assert objective[trained.best_epoch_] <= objective[0]


@pytest.mark.parametrize(
    "labels", [[0, None] * 20, ["a", None] * 20, [np.nan, 1.0] * 20, [0.5, 1.2] * 20]
)
def test_labels_that_are_none(labels):
    images = np.random.RandomState(0).rand(40, 5, 5)
    trained = make().fit(images, np.arange(40) % 2)
    before = vars(trained).copy()
    with pytest.raises((ValueError, TypeError)):
        trained.fit(images, np.array(labels, dtype=object))
    assert vars(trained) == before


def test_an_interrupt_loses_nothing(digits):
    images, labels = digits[0][:120], digits[1][:120]
    trained = make(warm_start=True).fit(images, labels)
    expected = trained.predict_proba(images)
    before = vars(trained).copy()

    def interrupt(batch, rng):
        raise KeyboardInterrupt

    for warm_start in (True, False):
        trained.set_params(augment=interrupt, warm_start=warm_start)
        with pytest.raises(KeyboardInterrupt):
            trained.fit(images, labels)
        changed = {"augment": interrupt, "warm_start": warm_start}
        assert vars(trained) == {**before, **changed}
    assert_array_equal(trained.predict_proba(images), expected)


def test_a_warm_start_holds_out_the_same_images(digits):
    images, labels = digits[0][:300].astype("f4"), digits[1][:300]
    seen = []

    def remember(batch, rng):
        seen.append(batch[:, :, :, 0])
        return batch

    trained = make(warm_start=True, augment=remember, random_state=None)
    trained.fit(images, labels)
    rows = {image.tobytes() for batch in seen for image in batch}
    assert len(rows) < 300
    for _ in range(3):
        trained.fit(images, labels)
    assert {image.tobytes() for batch in seen for image in batch} == rows
    # Other images are divided anew.
    trained.fit(images[:200], labels[:200])


def test_images_are_not_copied_to_hold_some_out(digits, monkeypatch):
    images, labels = digits[0][:300].astype("f4"), digits[1][:300]
    images = images[..., np.newaxis]
    from sklearn_ckn._training import controller as _controller

    given = []
    loop = _controller.TrainingLoop
    monkeypatch.setattr(
        _controller,
        "TrainingLoop",
        lambda data, *rest: given.append(data) or loop(data, *rest),
    )
    make(whitening=None).fit(images, labels)
    assert len(given[0].held_out) >= 10
    assert np.shares_memory(given[0].images, images)
