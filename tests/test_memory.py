"""What ``memory`` looks up, and that nothing else changes."""

import errno
import os
import warnings
import weakref

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from plain_map import PLAIN
from sklearn.model_selection import GridSearchCV

from sklearn_ckn import CKNClassifier, CKNFeatures, CKNRegressor
from sklearn_ckn._learning import layers as _learning
from sklearn_ckn._learning.cache import resolve_memory
from sklearn_ckn._learning.checked_store import CheckedStoreBackend

# Without the choice of a map, which encodes images as well.
PARAMETERS = {"n_anchors": (8, 12), "n_patches": 2000, "random_state": 0, **PLAIN}


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
        {"normalize": 0.5},
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
        *[{"patch_size": (2, 3)}, {"dilation": (2, 1)}],
        {"padding": ("valid", "same")},
        {"n_patches": 1000},
        {"kmeans_max_iter": 2},
        {"kmeans_tol": 1e-2},
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
    model = CKNFeatures(**{**PARAMETERS, "random_state": None}, memory=str(tmp_path))
    for _ in range(2):
        with pytest.warns(
            UserWarning, match="keeps nothing.*pass an integer"
        ) as record:
            model.fit(images)
        assert [each.filename for each in record] == [__file__]
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
    mirrored = {**PARAMETERS, "flip_average": True}
    flipped = CKNClassifier(**mirrored, memory=str(tmp_path))
    flipped.fit(images, labels)
    assert encodings == [60] * (2 + len(settings))
    plain = CKNClassifier(**mirrored).fit(images, labels)
    assert_array_equal(plain.coef_, flipped.coef_)


@pytest.mark.parametrize("estimator", [CKNClassifier, CKNRegressor])
def test_predictors_without_a_seed_warn_once(estimator, digits, tmp_path):
    model = estimator(**{**PARAMETERS, "random_state": None}, memory=tmp_path)
    with pytest.warns(UserWarning, match="keeps nothing") as record:
        model.fit(digits[0][:60], digits[1][:60])
    assert [each.filename for each in record] == [__file__]


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


def draw(seed, calls):
    """Stand for a step of a fit: arrays and numbers that depend on a seed."""
    calls.append(seed)
    rng = np.random.RandomState(seed)
    return rng.randn(2, 3).astype("f4"), 0.5, 3, rng.randn(2)


class SmallMemory:
    """A memory with one entry, whose files can be damaged.

    Parameters
    ----------
    folder : path
    **options
        Of joblib.Memory.
    """

    def __init__(self, folder, **options):
        self._memory = joblib.Memory(folder, verbose=0, **options)
        self.calls = []
        self.expected = self.look_up()
        self.files = {
            path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    def look_up(self):
        # As in a new process, joblib knows nothing of the function.
        joblib.memory._FUNCTION_HASHES = weakref.WeakKeyDictionary()
        remembered = resolve_memory(self._memory, 0).cache(draw, ["calls"])
        return remembered(0, self.calls)

    def assert_safe(self, damage, *, is_silent=False):
        """Check what is looked up after some damage, and repair it.

        Parameters
        ----------
        damage : callable
        is_silent : bool
            Whether computing again needs no warning.

        Returns
        -------
        was_computed : bool
        """
        damage()
        self.calls.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = self.look_up()
        for actual, expected in zip(result, self.expected, strict=True):
            assert_array_equal(actual, expected, strict=True)
        assert bool(caught) == bool(self.calls and not is_silent)
        was_computed = bool(self.calls)
        self.calls.clear()
        self.look_up()
        # What was damaged is kept anew.
        assert not self.calls
        for path, content in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return was_computed


@pytest.fixture
def new_function_hashes(monkeypatch):
    # Put back at the end.
    monkeypatch.setattr(joblib.memory, "_FUNCTION_HASHES", weakref.WeakKeyDictionary())


@pytest.mark.usefixtures("new_function_hashes")
@pytest.mark.parametrize("options", [{}, {"mmap_mode": "r"}, {"compress": 3}], ids=str)
def test_damaged_files(tmp_path, options):
    memory = SmallMemory(tmp_path, **options)
    n_computed = dict.fromkeys(("output.pkl", "checksum.txt", "func_code.py"), 0)
    n_damaged = dict.fromkeys(n_computed, 0)
    for path, content in memory.files.items():
        damaged = [content[:n] for n in range(0, len(content), 37)]
        damaged += [content + b"x", bytes(len(content))]
        for n in range(0, len(content), 19):
            changed = bytearray(content)
            changed[n] ^= 1 << n % 8
            damaged.append(bytes(changed))
        for each in damaged:
            was_computed = memory.assert_safe(lambda: path.write_bytes(each))  # noqa: B023
            if path.name in n_computed:
                n_computed[path.name] += was_computed
                n_damaged[path.name] += 1
    assert n_computed["output.pkl"] == n_damaged["output.pkl"] > 20
    assert n_computed["checksum.txt"] == n_damaged["checksum.txt"] > 4
    assert n_computed["func_code.py"] > 9


@pytest.mark.usefixtures("new_function_hashes")
def test_missing_files(tmp_path):
    memory = SmallMemory(tmp_path)
    # Without them there is no entry, rather than a damaged one to warn of.
    silent = ("output.pkl", "func_code.py")
    computed = [
        path.name
        for path in memory.files
        if memory.assert_safe(path.unlink, is_silent=path.name in silent)
    ]
    assert sorted(computed) == ["checksum.txt", "func_code.py", "output.pkl"]


@pytest.mark.usefixtures("new_function_hashes")
def test_entries_of_another_key(tmp_path):
    memory = SmallMemory(tmp_path)
    (folder,) = (path.parent for path in memory.files if path.name == "output.pkl")
    other = joblib.Memory(tmp_path / "other", verbose=0)
    resolve_memory(other, 0).cache(draw, ["calls"])(1, [])
    (foreign,) = (tmp_path / "other").rglob("output.pkl")

    def exchange():
        for name in ("output.pkl", "checksum.txt"):
            (folder / name).write_bytes((foreign.parent / name).read_bytes())

    assert memory.assert_safe(exchange)


def test_a_damaged_layer_is_learned_again(images, tmp_path, clusterings):
    parameters = {**PARAMETERS, "memory": tmp_path}
    expected = CKNFeatures(**parameters).fit(images)
    outputs = sorted(tmp_path.rglob("output.pkl"))
    assert len(outputs) == 4
    for path in outputs:
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
    clusterings.clear()
    with pytest.warns(UserWarning, match="damaged and is computed again"):
        again = CKNFeatures(**parameters).fit(images)
    assert_same_features(again, expected)
    assert clusterings == [8, 12]
    # And kept: nothing is damaged any more.
    clusterings.clear()
    assert_same_features(CKNFeatures(**parameters).fit(images), expected)
    assert clusterings == []


def test_a_folder_that_cannot_be(images, tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    expected = CKNFeatures(**PARAMETERS).fit(images)
    with pytest.warns(UserWarning, match="cannot be used"):
        fitted = CKNFeatures(**PARAMETERS, memory=file / "cache").fit(images)
    assert_same_features(fitted, expected)


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_a_full_disk(images, tmp_path, monkeypatch, clusterings, mmap_mode):
    def open_full(path, mode):
        if "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open(path, mode)

    expected = CKNFeatures(**PARAMETERS).fit(images)
    clusterings.clear()
    monkeypatch.setattr(CheckedStoreBackend, "_open_item", staticmethod(open_full))
    memory = joblib.Memory(tmp_path, verbose=0, mmap_mode=mmap_mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = CKNFeatures(**PARAMETERS, memory=memory).fit(images)
    assert any("No space left on device" in str(each.message) for each in caught)
    assert_same_features(fitted, expected)
    assert clusterings == [8, 12]


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="this user may write to any folder",
)
def test_a_folder_that_is_read_only(images, tmp_path):
    expected = CKNFeatures(**PARAMETERS).fit(images)
    tmp_path.chmod(0o500)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = CKNFeatures(**PARAMETERS, memory=tmp_path).fit(images)
    finally:
        tmp_path.chmod(0o700)
    assert caught
    assert_same_features(fitted, expected)


def test_an_error_of_the_computation_is_no_failure_of_the_memory(tmp_path):
    calls = []
    remembered = resolve_memory(str(tmp_path), 0).cache(fail, ["calls"])
    with pytest.raises(ZeroDivisionError, match="the computation"):
        remembered(0, calls)
    assert calls == [0]


def fail(seed, calls):
    calls.append(seed)
    raise ZeroDivisionError("the computation itself")


def test_an_entry_that_another_process_removes(tmp_path, monkeypatch):
    # Between the check and the loading.
    memory = SmallMemory(tmp_path)
    contains_item = CheckedStoreBackend.contains_item

    def remove_after_check(self, call_id):
        is_there = contains_item(self, call_id)
        self.clear_item(call_id)
        return is_there

    monkeypatch.setattr(CheckedStoreBackend, "contains_item", remove_after_check)
    memory.calls.clear()
    for actual, expected in zip(memory.look_up(), memory.expected, strict=True):
        assert_array_equal(actual, expected)
    assert memory.calls == [0]
