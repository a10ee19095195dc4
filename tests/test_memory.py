"""What ``memory`` looks up, and that nothing else changes."""

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV

from sklearn_ckn import CKNClassifier, CKNFeatures, CKNRegressor, _learning

PARAMETERS = {"n_anchors": (8, 12), "n_patches": 2000, "random_state": 0}


@pytest.fixture
def images(digits):
    return digits[0][:60]


@pytest.fixture
def clusterings(monkeypatch):
    """Count the layers that are clustered, by their number of anchors."""
    calls = []
    function = _learning.spherical_k_means

    def counted(points, n_clusters, **options):
        calls.append(n_clusters)
        return function(points, n_clusters, **options)

    monkeypatch.setattr(_learning, "spherical_k_means", counted)
    return calls


@pytest.fixture
def encodings(monkeypatch):
    """Count the images whose features are computed."""
    calls = []
    function = CKNFeatures._encode

    def counted(self, images, *arguments):
        calls.append(len(images))
        return function(self, images, *arguments)

    monkeypatch.setattr(CKNFeatures, "_encode", counted)
    return calls


def assert_same_features(left, right):
    for name in ("anchors_", "inertia_", "nystrom_residual_", "n_iter_per_layer_"):
        for a, b in zip(getattr(left, name), getattr(right, name), strict=True):
            assert_array_equal(a, b)


def test_equal_to_the_bit(images, tmp_path, clusterings):
    plain = CKNFeatures(**PARAMETERS).fit(images)
    for _ in range(2):
        remembered = CKNFeatures(**PARAMETERS, memory=str(tmp_path)).fit(images)
        assert_same_features(plain, remembered)
        assert_array_equal(plain.transform(images), remembered.transform(images))
    assert clusterings == [8, 12] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"beta": (1.0, 2.8)},
        {"kernel": ("poly", "exp")},
        {"subsampling": (3, "auto")},
        {"nystrom_reg": (1e-2, 1e-3)},
        {"n_anchors": (8, 12, 5)},
    ],
    ids=str,
)
def test_what_the_first_layer_does_not_depend_on(change, images, tmp_path, clusterings):
    CKNFeatures(**PARAMETERS, memory=str(tmp_path)).fit(images)
    clusterings.clear()
    changed = CKNFeatures(**{**PARAMETERS, **change}, memory=str(tmp_path)).fit(images)
    assert 8 not in clusterings
    assert len(clusterings) == 1
    assert_same_features(changed, CKNFeatures(**{**PARAMETERS, **change}).fit(images))


@pytest.mark.parametrize(
    "change",
    [
        {"beta": (2.8, 1.0)},
        {"kernel": ("exp", "poly")},
        {"subsampling": (2, 4)},
        {"flip_average": True},
        {"verbose": 1},
    ],
    ids=str,
)
def test_what_no_layer_depends_on(change, images, tmp_path, clusterings):
    CKNFeatures(**PARAMETERS, memory=str(tmp_path)).fit(images)
    clusterings.clear()
    changed = CKNFeatures(**{**PARAMETERS, **change}, memory=str(tmp_path)).fit(images)
    assert clusterings == []
    assert_same_features(changed, CKNFeatures(**{**PARAMETERS, **change}).fit(images))


@pytest.mark.parametrize(
    "change",
    [
        {"n_anchors": (9, 12)},
        {"patch_size": (2, 3)},
        {"padding": ("valid", "same")},
        {"n_patches": 1000},
        {"max_iter": 2},
        {"tol": 1e-2},
        {"random_state": 1},
    ],
    ids=str,
)
def test_what_every_layer_depends_on(change, images, tmp_path, clusterings):
    CKNFeatures(**PARAMETERS, memory=str(tmp_path)).fit(images)
    clusterings.clear()
    changed = CKNFeatures(**{**PARAMETERS, **change}, memory=str(tmp_path)).fit(images)
    assert len(clusterings) == 2
    assert_same_features(changed, CKNFeatures(**{**PARAMETERS, **change}).fit(images))


def test_other_images_and_other_dtypes(images, tmp_path, clusterings):
    for changed in (images, images[:50], images[::-1], images.astype(np.float64)):
        CKNFeatures(**PARAMETERS, memory=str(tmp_path)).fit(changed)
    assert clusterings == [8, 12] * 4
    rows = CKNFeatures(**PARAMETERS, memory=tmp_path, image_shape=(8, 8))
    rows.fit(images.reshape(60, 64))
    assert clusterings == [8, 12] * 4


def test_a_layer_does_not_depend_on_the_number_of_layers(images):
    two = CKNFeatures(**PARAMETERS).fit(images)
    one = CKNFeatures(**{**PARAMETERS, "n_anchors": 8}).fit(images)
    assert_array_equal(one.anchors_[0], two.anchors_[0])


def test_without_a_seed_nothing_is_kept(images, tmp_path, clusterings):
    for _ in range(2):
        CKNFeatures(**{**PARAMETERS, "random_state": None}, memory=str(tmp_path)).fit(
            images
        )
    assert clusterings == [8, 12] * 2
    assert list(tmp_path.rglob("output.pkl")) == []


def test_random_states_and_memory_objects(images, tmp_path, clusterings):
    memory = joblib.Memory(tmp_path, mmap_mode="r", verbose=0)
    parameters = {**PARAMETERS, "memory": memory}
    for _ in range(2):
        parameters["random_state"] = np.random.RandomState(3)
        fitted = CKNFeatures(**parameters).fit(images)
    assert clusterings == [8, 12]
    assert type(fitted.anchors_[0]) is np.ndarray
    memory.clear(warn=False)
    parameters["random_state"] = np.random.RandomState(3)
    assert_same_features(CKNFeatures(**parameters).fit(images), fitted)


def test_anything_with_a_cache_will_do(images, tmp_path, clusterings):
    class Wrapper:
        def __init__(self, memory):
            self._memory = memory

        def cache(self, function, **options):
            return self._memory.cache(function, **options)

    memory = Wrapper(joblib.Memory(tmp_path, verbose=0))
    for _ in range(2):
        CKNFeatures(**PARAMETERS, memory=memory).fit(images)
    assert clusterings == [8, 12]


def test_heads_share_the_features_of_the_training_images(digits, tmp_path, encodings):
    images, labels = digits[0][:60], digits[1][:60]
    settings = [
        {},
        {"alpha": 1e-3},
        {"head": "linear_svm"},
        {"class_weight": "balanced"},
    ]
    for change in settings:
        parameters = {**PARAMETERS, **change}
        remembered = CKNClassifier(**parameters, memory=str(tmp_path))
        remembered.fit(images, labels)
        plain = CKNClassifier(**parameters).fit(images, labels)
        assert_array_equal(plain.coef_, remembered.coef_)
        assert_array_equal(
            plain.predict_proba(images), remembered.predict_proba(images)
        )
    # Once with memory, and every time without.
    assert encodings == [60] * (1 + len(settings))
    flipped = CKNClassifier(**PARAMETERS, flip_average=True, memory=str(tmp_path))
    flipped.fit(images, labels)
    assert encodings == [60] * (2 + len(settings))
    plain = CKNClassifier(**PARAMETERS, flip_average=True).fit(images, labels)
    assert_array_equal(plain.coef_, flipped.coef_)


def test_regressor(digits, tmp_path, encodings):
    images, targets = digits[0][:60], digits[1][:60]
    for alpha in (1e-3, 1e-2):
        parameters = {**PARAMETERS, "alpha": alpha}
        remembered = CKNRegressor(**parameters, memory=str(tmp_path))
        remembered.fit(images, targets)
        plain = CKNRegressor(**parameters).fit(images, targets)
        assert_array_equal(plain.coef_, remembered.coef_)
    assert encodings == [60] * 3


def test_grid_search_in_two_processes(digits, tmp_path):
    images, labels = digits[0][:90], digits[1][:90]
    grid = {"beta": [1.0, 2.8], "patch_size": [2, 3]}

    def search(**parameters):
        classifier = CKNClassifier(**PARAMETERS, **parameters)
        return GridSearchCV(classifier, grid, cv=3, n_jobs=2).fit(images, labels)

    plain, remembered = search(), search(memory=str(tmp_path))
    assert_array_equal(
        plain.cv_results_["mean_test_score"], remembered.cv_results_["mean_test_score"]
    )
    assert_array_equal(plain.best_estimator_.coef_, remembered.best_estimator_.coef_)
