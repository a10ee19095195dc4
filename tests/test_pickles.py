"""Models of earlier releases load and predict as they did; others' versions warn."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import sklearn_ckn
from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    InconsistentVersionWarning,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
)
from sklearn_ckn._common import pickles as persistence

PICKLES = sorted((Path(__file__).parent / "pickles").glob("*.pkl"))

# Relative to the norm of the features. A layer's responses r kappa(cos) are right to
# some units of rounding u = 1.1e-16, say 100 for sums of 36 products and exp(beta
# (cos - 1)), and the projection multiplies errors, relative to the norm, by at most
# sqrt(largest over smallest eigenvalue) <= sqrt((p + reg) / reg) = 71 for p = 5 anchors
# and reg = 1e-3; twice, in two layers: 100 * 71^2 * 1.1e-16.
TOLERANCE = 6e-11


def load(path):
    """Return the models of a release and what it stored of their results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        models = pickle.loads(path.read_bytes())
    return models, np.load(path.with_suffix(".npz"))


def test_there_are_pickles():
    assert len(PICKLES) > 0


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.stem)
def test_features_of_an_earlier_release(path):
    models, stored = load(path)
    expected = stored["features"]
    features = models["features"].transform(stored["images"])
    assert np.linalg.norm(features - expected) <= TOLERANCE * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["classifier", "supervised"])
@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.stem)
def test_predictions_of_an_earlier_release(path, name):
    models, stored = load(path)
    model, images = models[name], stored["images"]
    assert_array_equal(model.predict(images), stored[f"{name}_labels"])
    # Decisions are linear in the features.
    largest_error = TOLERANCE * np.linalg.norm(stored[f"{name}_features"])
    largest_error *= np.linalg.norm(model.coef_, 2)
    errors = model.decision_function(images) - stored[f"{name}_decisions"]
    assert np.linalg.norm(errors) <= largest_error
    # The bound tells models apart.
    assert largest_error < 1e-6 * np.linalg.norm(stored[f"{name}_decisions"])


def test_square_patches_of_signals_lose_their_zeros():
    models, stored = load(Path(__file__).parent / "pickles" / "0.1.0-signals.pkl")
    assert stored["images"].shape[1:] == (1, 12)
    for model in (models["features"], models["supervised"].features_):
        assert [each.shape for each in model.anchors_] == [(4, 3), (5, 3 * 4)]
        for anchors in model.anchors_:
            # All of the unit vectors is kept.
            assert_allclose(np.linalg.norm(anchors, axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.stem)
def test_parameters_that_are_new_get_their_defaults(path):
    models, _ = load(path)
    for model in (*models.values(), models["classifier"].head_):
        new = type(model)()
        assert set(model.get_params()) == set(new.get_params())
        assert repr(clone(model)) == repr(model)
    assert models["classifier"].head_.cv is None


@pytest.mark.parametrize("name", ["features", "classifier", "supervised"])
def test_names_of_version_0_1_0_are_translated(name):
    models, _ = load(Path(__file__).parent / "pickles" / "0.1.0.pkl")
    model = models[name]
    assert (model.kmeans_max_iter, model.kmeans_tol) == (0, 1e-4)
    assert not {"max_iter", "tol"} & set(vars(model))
    if name != "features":
        head = model.head_
        assert head.loss == model.head == "ridge"
        assert not {"head", "loo_score_", "validation_score_"} & set(vars(head))
        assert model.alpha_scores_.shape == model.alphas_.shape
        assert model.alpha_scoring_ == "leave_one_out"
    # Of the supervised model, the epochs; of the others, the rounds of k-means.
    assert model.n_iter_ == (2 if name == "supervised" else 1)


def test_a_learning_rate_of_version_0_1_0_is_a_number():
    models, stored = load(Path(__file__).parent / "pickles" / "0.1.0.pkl")
    assert models["supervised"].learning_rate == 0.01
    # Without a number in its place the old word would be refused.
    refitted = clone(models["supervised"]).set_params(n_epochs=1)
    refitted.fit(stored["images"], models["supervised"].predict(stored["images"]))


def test_values_of_renamed_parameters_are_kept():
    features = CKNFeatures(kmeans_max_iter=7, kmeans_tol=0.5)
    state = features.__getstate__()
    state["max_iter"] = state.pop("kmeans_max_iter")
    state["tol"] = state.pop("kmeans_tol")
    loaded = CKNFeatures.__new__(CKNFeatures)
    loaded.__setstate__(state)
    assert vars(loaded) == vars(features)


@pytest.mark.parametrize(
    ("name", "scoring"),
    [("loo_score_", "leave_one_out"), ("validation_score_", "held_out")],
)
@pytest.mark.parametrize("estimator", [LinearPathClassifier, RidgePathRegressor])
def test_scores_of_version_0_1_0_are_translated(estimator, name, scoring):
    fitted = estimator().fit(np.eye(6)[:, :3], np.arange(6) % 2)
    state = fitted.__getstate__()
    scores = state.pop("alpha_scores_")
    del state["alpha_scoring_"]
    loaded = estimator.__new__(estimator)
    loaded.__setstate__({**state, name: scores})
    assert_array_equal(loaded.alpha_scores_, scores)
    assert loaded.alpha_scoring_ == scoring
    assert not hasattr(loaded, name)


def test_k_means_itself_keeps_its_names():
    clusterer = SphericalKMeans(max_iter=7, tol=0.5)
    assert vars(pickle.loads(pickle.dumps(clusterer))) == vars(clusterer)


ESTIMATORS = [
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    LinearPathClassifier,
    PatchWhitening,
    RidgePathRegressor,
    SphericalKMeans,
    SupervisedCKNClassifier,
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_another_version_warns(estimator, monkeypatch):
    monkeypatch.setattr(persistence, "__version__", "0.0.1")
    pickled = pickle.dumps(estimator())
    monkeypatch.undo()
    message = (
        f"{estimator.__name__} was pickled by version 0.0.1 of sklearn-ckn and is "
        f"unpickled by version {sklearn_ckn.__version__}"
    )
    with pytest.warns(InconsistentVersionWarning, match=message) as record:
        loaded = pickle.loads(pickled)
    assert len(record) == 1
    assert record[0].message.original_version == "0.0.1"
    assert vars(loaded) == vars(estimator())


def test_a_filter_on_the_warning_of_scikit_learn_catches_ours(monkeypatch):
    monkeypatch.setattr(persistence, "__version__", "0.0.1")
    pickled = pickle.dumps(CKNFeatures())
    monkeypatch.undo()
    with pytest.warns(sklearn.exceptions.InconsistentVersionWarning) as record:
        pickle.loads(pickled)
    warning = record[0].message
    assert warning.estimator_name == "CKNFeatures"
    assert warning.current_version == sklearn_ckn.__version__
    assert warning.current_sklearn_version == sklearn.__version__
    assert warning.original_sklearn_version == "unknown"
    with warnings.catch_warnings():
        # Any warning is an error here.
        warnings.simplefilter("ignore", sklearn.exceptions.InconsistentVersionWarning)
        pickle.loads(pickled)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_same_version_does_not_warn(estimator):
    # Warnings are errors here.
    loaded = pickle.loads(pickle.dumps(estimator()))
    assert vars(loaded) == vars(estimator()) == vars(clone(loaded))


def test_a_state_stays_as_it_is():
    state = CKNFeatures().__getstate__()
    before = state.copy()
    CKNFeatures().__setstate__(state)
    assert state == before


def test_a_pickle_without_a_version_warns():
    state = vars(CKNFeatures()).copy()
    features = CKNFeatures.__new__(CKNFeatures)
    with pytest.warns(InconsistentVersionWarning, match="version unknown"):
        features.__setstate__(state)
    assert vars(features) == state
