"""The estimators among scikit-learn's tools."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from sklearn_ckn import CKNClassifier, CKNFeatures, SphericalKMeans


def small(estimator=CKNClassifier, **parameters):
    return estimator(
        **{"n_anchors": (8, 16), "n_patches": 2000, "random_state": 0, **parameters}
    )


def test_pipeline_with_a_scaler_before_rows(digits):
    images, labels = digits
    rows = images.reshape(len(images), -1).astype(np.float32)
    pipeline = make_pipeline(StandardScaler(with_std=False), small(image_shape=(8, 8)))
    pipeline.fit(rows[:1000], labels[:1000])
    assert pipeline.score(rows[1000:], labels[1000:]) > 0.9


def test_features_before_another_classifier(digits):
    images, labels = digits
    pipeline = make_pipeline(small(CKNFeatures), StandardScaler(), RidgeClassifier())
    pipeline.fit(images[:1000], labels[:1000])
    assert pipeline.score(images[1000:], labels[1000:]) > 0.9


def test_grid_search_over_beta_and_patch_size(digits):
    images, labels = digits
    search = GridSearchCV(
        small(), {"beta": [1.0, 2.5], "patch_size": [2, 3]}, cv=2, n_jobs=2
    )
    search.fit(images[:300], labels[:300])
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.8
    alone = GridSearchCV(small(), search.param_grid, cv=2).fit(
        images[:300], labels[:300]
    )
    assert_array_equal(
        alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_cross_validation_of_images_with_channels(digits):
    images, labels = digits
    colour = np.stack([images[:300], images[:300] // 2], axis=-1)
    assert colour.ndim == 4
    assert cross_val_score(small(), colour, labels[:300], cv=3).min() > 0.8


@pytest.mark.parametrize("estimator", [CKNFeatures, CKNClassifier])
def test_clone(estimator, digits):
    images, labels = digits[0][:100], digits[1][:100]
    fitted = small(estimator, beta=(1.0, 2.0)).fit(images, labels)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "anchors_")
    assert not hasattr(copy, "coef_")
    method = "transform" if estimator is CKNFeatures else "decision_function"
    assert_array_equal(
        getattr(copy.fit(images, labels), method)(images),
        getattr(fitted, method)(images),
    )


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_in_a_new_process(mmap_mode, digits, tmp_path):
    images, labels = digits[0][:100], digits[1][:100]
    classifier = small().fit(images, labels)
    clusterer = SphericalKMeans(3, random_state=0).fit(images.reshape(100, -1))
    joblib.dump((classifier, clusterer), tmp_path / "model.joblib")
    joblib.dump(images, tmp_path / "images.joblib")
    code = (
        "import sys, joblib, numpy\n"
        f"mode = {mmap_mode!r}\n"
        "classifier, clusterer = joblib.load('model.joblib', mmap_mode=mode)\n"
        "images = joblib.load('images.joblib', mmap_mode=mode)\n"
        "numpy.save('decisions.npy', classifier.decision_function(images))\n"
        "numpy.save('features.npy', classifier.features_.transform(images))\n"
        "numpy.save('labels.npy', clusterer.predict(images.reshape(100, -1)))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    expected = {
        "decisions": classifier.decision_function(images),
        "features": classifier.features_.transform(images),
        "labels": clusterer.labels_,
    }
    for name, value in expected.items():
        assert_array_equal(np.load(tmp_path / f"{name}.npy"), value)


def test_pickle(digits):
    images, labels = digits[0][:100], digits[1][:100]
    classifier = small().fit(images, labels)
    copy = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(
        copy.decision_function(images), classifier.decision_function(images)
    )


def test_memory_mapped_images(digits, tmp_path):
    images, labels = digits[0][:100], digits[1][:100]
    for dtype in ("u1", "f4", "f8"):
        np.save(tmp_path / "images.npy", images.astype(dtype))
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
        assert_array_equal(
            small().fit(mapped, labels).decision_function(mapped),
            small().fit(images.astype(dtype), labels).decision_function(mapped),
        )


def test_html_repr(digits):
    classifier = small()
    diagram = estimator_html_repr(classifier)
    assert "CKNClassifier" in diagram
    # scikit-learn's site has no page of this class.
    assert "https://scikit-learn.org" not in diagram
    classifier.fit(digits[0][:50], digits[1][:50])
    assert "CKNClassifier" in estimator_html_repr(
        make_pipeline(StandardScaler(), classifier)
    )


def test_data_frame_columns_reach_the_features(digits):
    pandas = pytest.importorskip("pandas")
    images, labels = digits[0][:100], digits[1][:100]
    frame = pandas.DataFrame(
        images.reshape(100, -1), columns=[f"pixel{i}" for i in range(64)]
    )
    classifier = small(image_shape=(8, 8)).fit(frame, labels)
    assert classifier.feature_names_in_.tolist() == list(frame.columns)
    assert classifier.features_.feature_names_in_.tolist() == list(frame.columns)
    classifier.features_.transform(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame[frame.columns[::-1]])
