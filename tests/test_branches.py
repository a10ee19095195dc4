"""Networks side by side: branches, differences of signals, and the preset."""

import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_ckn import (
    AnchorsDisplay,
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    FeatureMapDisplay,
    SupervisedCKNClassifier,
    signals_to_images,
)

BRANCHES = [
    {"dilation": 1},
    {"dilation": 3, "beta": 5.0, "n_anchors": 7},
    {"differences": True, "padding": "valid"},
]


def make_signals(n=60, length=40, n_channels=2, seed=0):
    """Sines of two frequencies at random phases, with noise; and the classes."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 2
    phases = 2 * np.pi * rng.rand(n, 1, n_channels)
    time = np.arange(length)[:, np.newaxis]
    signals = np.sin((0.5 + 0.4 * y[:, np.newaxis, np.newaxis]) * time + phases)
    signals += 0.3 * rng.randn(*signals.shape)
    return signals[:, np.newaxis].astype(np.float32), y


def make(**parameters):
    return CKNFeatures(
        **{
            "n_anchors": 6,
            "patch_size": 5,
            "subsampling": "global",
            "n_patches": 500,
            "branches": BRANCHES,
            "random_state": 0,
            **parameters,
        }
    )


def test_features_are_those_of_the_branches():
    X, _ = make_signals()
    features = make().fit(X)
    outputs = [branch.transform(X) for branch in features.branches_]
    assert [each.shape[1] for each in outputs] == [6, 7, 6]
    assert_array_equal(features.transform(X), np.hstack(outputs))
    assert features.output_shape_ == (1, 1, 19)
    assert len(features.get_feature_names_out()) == 19
    assert features.betas_ == [2.8, 5.0, 2.8]
    assert [len(anchors) for anchors in features.anchors_] == [6, 7, 6]
    for output in outputs:
        # The variances are summed in float64, the features rounded to float32.
        assert_allclose(output.var(axis=0, dtype=np.float64).sum(), 1, rtol=1e-5)


def test_a_branch_is_the_network_with_these_parameters():
    X, _ = make_signals()
    branch = make().fit(X).branches_[1]
    parameters = branch.get_params()
    assert parameters["branches"] is None
    assert parameters["dilation"] == 3
    alone = clone(branch).fit(X)
    assert_array_equal(alone.anchors_[0], branch.anchors_[0])
    scale = branch._network.scale
    # Rounded to float32 before and after the multiplication.
    assert_allclose(branch.transform(X), scale * alone.transform(X), rtol=1e-6)


def test_fits_repeat_and_survive_pickling(tmp_path):
    X, y = make_signals()
    features = make().fit(X)
    expected = features.transform(X)
    assert_array_equal(make().fit(X).transform(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(features)).transform(X), expected)
    model = CKNClassifier(**make().get_params()).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    assert_array_equal(loaded.decision_function(X), model.decision_function(X))


def test_the_scale_of_the_images_makes_no_difference():
    X, _ = make_signals()
    # A power of two changes no rounding of the scaled images.
    assert_allclose(
        make().fit(1024 * X).transform(1024 * X), make().fit(X).transform(X), rtol=1e-6
    )
    tiny = np.float32(2.0**-100)
    assert_allclose(
        make().fit(tiny * X).transform(tiny * X), make().fit(X).transform(X), rtol=1e-6
    )


def test_constant_features_of_a_branch_are_zero():
    X = np.broadcast_to(make_signals()[0][:1], (20, 1, 40, 2)).copy()
    assert not make().fit(X).transform(X).any()


def test_blocks_and_memory_give_the_same(tmp_path):
    X, y = make_signals()
    parameters = make().get_params()
    expected = CKNClassifier(**parameters).fit(X, y)
    for options in ({"memory": str(tmp_path)}, {"streaming": True}):
        model = CKNClassifier(**{**parameters, **options})
        for _ in range(2):
            decisions = model.fit(X, y).decision_function(X)
            assert_allclose(decisions, expected.decision_function(X), atol=1e-4)


def test_signals_of_a_dask_array():
    da = pytest.importorskip("dask.array")
    X, y = make_signals()
    parameters = make().get_params()
    expected = CKNClassifier(**parameters).fit(X, y).features_.transform(X)
    lazy = da.from_array(X, chunks=(25, -1, -1, -1))
    features = CKNClassifier(**parameters).fit(lazy, y).features_
    assert_array_equal(features.transform(X), expected)
    assert_array_equal(features.transform(lazy).compute(), expected)


def test_branches_of_images(digits):
    images, labels = digits[0][:300], digits[1][:300]
    branches = [{"patch_size": 3}, {"patch_size": 5, "flip_average": True}]
    model = CKNClassifier((8, 8), branches=branches, random_state=0)
    model.fit(images[:200], labels[:200])
    assert (model.whitening_, model.flip_average_, model.normalize_) == (None, False, 0)
    assert model.map_results_ is None
    assert model.score(images[200:], labels[200:]) > 0.8
    given = clone(model).set_params(normalize=0.5, whitening=0.25)
    given.fit(images[:200], labels[:200])
    assert (given.whitening_, given.normalize_) == (0.25, 0.5)
    assert all(each.normalize == 0.5 for each in given.features_.branches_)


def test_a_search_over_branches():
    X, y = make_signals()
    model = CKNClassifier(**make().get_params())
    search = GridSearchCV(
        make_pipeline(model), {"cknclassifier__branches": [BRANCHES[:1], BRANCHES]}
    )
    assert search.fit(X, y).best_score_ > 0.9


@pytest.mark.parametrize(
    ("branches", "error", "message"),
    [
        ([], ValueError, "branches is empty"),
        ([3], TypeError, r"branches\[0\] must be a dict"),
        ([{}, {"size": 2}], ValueError, r"branches\[1\] has the key 'size'"),
        ([{}, {"memory": None}], ValueError, r"branches\[1\] has the key 'memory'"),
        ([{"beta": -1.0}], ValueError, r"branches\[0\]: The 'beta' parameter"),
        ([{"dilation": (1, 2)}], ValueError, r"branches\[0\]: dilation has 2 values"),
        (
            [{"differences": True, "whitening": 0.0}],
            ValueError,
            r"branches\[0\]: differences=True and whitening=0.0",
        ),
        ("all", ValueError, "'branches' parameter"),
    ],
)
def test_branches_that_are_wrong(branches, error, message):
    X, _ = make_signals()
    with pytest.raises(error, match=message):
        make(branches=branches).fit(X)


def test_differences_are_those_of_the_signal():
    X, _ = make_signals()
    features = make(branches=None, differences=True).fit(X)
    differences = np.zeros_like(X)
    differences[:, :, 1:] = np.diff(X, axis=2)
    plain = make(branches=None).fit(differences)
    assert_array_equal(features.transform(X), plain.transform(differences))
    # The same for signals of one column, and for integers without overflow.
    column = make(branches=None, differences=True).fit(X.swapaxes(1, 2))
    assert_array_equal(column.transform(X.swapaxes(1, 2)), features.transform(X))
    bytes_ = np.random.RandomState(0).randint(256, size=(30, 1, 20, 1)).astype("u1")
    falling = make(branches=None, differences=True).fit(bytes_)
    expected = falling.transform(bytes_.astype("f4"))
    assert_array_equal(falling.transform(bytes_), expected)


def test_differences_need_signals(digits):
    with pytest.raises(ValueError, match="differences=True needs signals"):
        make(branches=None, differences=True).fit(digits[0][:50])
    with pytest.raises(ValueError, match='"signals" needs signals'):
        make(branches="signals").fit(digits[0][:50])


def test_displays_name_the_branches():
    X, y = make_signals()
    features = make().fit(X)
    with pytest.raises(ValueError, match=r"one of estimator\.branches_"):
        AnchorsDisplay.from_estimator(features)
    model = CKNClassifier(**make().get_params()).fit(X, y)
    with pytest.raises(ValueError, match=r"one of estimator\.features_\.branches_"):
        FeatureMapDisplay.from_estimator(model, X[0])


@pytest.mark.parametrize("estimator", [CKNClassifier, CKNRegressor])
def test_the_preset_for_signals(estimator):
    X, y = make_signals(120)
    model = estimator.for_signals(n_anchors=16, n_patches=500, random_state=0)
    model.fit(X[:60], y[:60])
    assert model.score(X[60:], y[60:]) > 0.9
    branches = model.features_.branches_
    # Patches of 9 samples and 40 samples: (40 - 1) // (9 - 1) = 4.
    dilations = [each.dilation for each in branches]
    assert dilations == [d for d in (1, 2, 4) for _ in range(5)]
    assert sum(each.differences for each in branches) == 6
    # The level of a signal makes no difference but in the first branch of each five.
    moved = X[60:] + np.float32(8)
    for i, branch in enumerate(branches):
        difference = np.abs(branch.transform(moved) - branch.transform(X[60:])).max()
        # The sum with 8 is rounded to multiples of 2^-20.
        assert (difference < 1e-4) == (i % 5 > 0)


@pytest.mark.filterwarnings("ignore:patch_size=9 makes patches")
def test_short_signals():
    X, y = make_signals(60, length=3)
    model = CKNClassifier.for_signals(n_anchors=4, n_patches=100, random_state=0)
    assert {each.dilation for each in model.fit(X, y).features_.branches_} == {1}


def test_the_preset_takes_other_parameters():
    features = CKNFeatures.for_signals(patch_size=7, beta=3.0)
    assert (features.patch_size, features.beta, features.n_anchors) == (7, 3.0, 128)
    with pytest.raises(TypeError, match=r"use CKNClassifier\.for_signals"):
        SupervisedCKNClassifier.for_signals()


def test_signals_in_the_shape_of_images():
    X = np.arange(24).reshape(2, 3, 4)
    images = signals_to_images(X)
    assert images.shape == (2, 1, 4, 3)
    assert_array_equal(images[1, 0, 2], X[1, :, 2])
    assert_array_equal(signals_to_images(X[:, 0])[:, 0, :, 0], X[:, 0])
    for ragged in ([[1, 2], [1, 2, 3]], np.array([[1], [1, 2]], dtype=object)):
        with pytest.raises(ValueError, match="different lengths"):
            signals_to_images(ragged)
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        signals_to_images(np.zeros(3))
