"""CKNClassifier: accuracy, labels, class weights, errors."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import CKNClassifier, CKNFeatures, LinearPathClassifier

HEADS = ["ridge", "linear_svm", "logistic"]


def make(**parameters):
    return CKNClassifier(**{"n_anchors": (16, 32), "random_state": 0, **parameters})


@pytest.mark.parametrize("head", HEADS)
def test_digits(head, digits):
    images, labels = digits
    classifier = make(head=head).fit(images[:1200], labels[:1200])
    assert classifier.score(images[1200:], labels[1200:]) > 0.96
    assert classifier.coef_.shape == (10, np.prod(classifier.features_.output_shape_))
    assert classifier.coef_.dtype == np.float32


def test_default_accuracy_on_digits(digits):
    images, labels = digits
    classifier = CKNClassifier(random_state=0).fit(images[:1400], labels[:1400])
    assert classifier.score(images[1400:], labels[1400:]) > 0.985


def test_decision_function_is_linear_in_the_features(digits):
    images, labels = digits[0][:300], digits[1][:300]
    classifier = make().fit(images, labels)
    features = classifier.features_.transform(images)
    decisions = classifier.decision_function(images)
    expected = features @ classifier.coef_.T + classifier.intercept_
    assert_allclose(decisions, expected, rtol=1e-4, atol=1e-4)
    assert_array_equal(
        classifier.predict(images), classifier.classes_[decisions.argmax(axis=1)]
    )
    with sklearn.config_context(working_memory=0.02):
        assert_allclose(classifier.decision_function(images), decisions, atol=1e-4)


@pytest.mark.parametrize("name", ["coef_", "alpha_scores_", "temperature_", "other_"])
def test_missing_attributes_name_the_class_that_the_user_holds(name, digits):
    classifier = make()
    message = f"'CKNClassifier' object has no attribute '{name}'"
    assert not hasattr(classifier, name)
    with pytest.raises(AttributeError, match=message):
        getattr(classifier, name)
    classifier.fit(digits[0][:60], digits[1][:60])
    assert hasattr(classifier, name) == (name != "other_")
    if name == "other_":
        with pytest.raises(AttributeError, match=message):
            classifier.other_  # noqa: B018


@pytest.mark.parametrize("head", HEADS)
def test_the_head_is_that_of_the_features(head, digits):
    images, labels = digits[0][:200], digits[1][:200]
    classifier = make(head=head, class_weight="balanced").fit(images, labels)
    features = classifier.features_.transform(images)
    alone = LinearPathClassifier(head, class_weight="balanced").fit(features, labels)
    names = ["coef_", "intercept_", "alpha_", "alphas_", "temperature_"]
    names += ["alpha_scores_", "alpha_scoring_"]
    for name in names:
        assert_array_equal(getattr(classifier, name), getattr(alone, name))
    for method in ("decision_function", "predict", "predict_proba"):
        assert_array_equal(
            getattr(classifier, method)(images), getattr(alone, method)(features)
        )


def test_two_classes_and_string_labels(digits):
    images, labels = digits
    two = np.flatnonzero(labels < 2)[:120]
    names = np.array(["zero", "one"])[labels[two]]
    classifier = make().fit(images[two], names)
    assert classifier.classes_.tolist() == ["one", "zero"]
    assert classifier.coef_.shape[0] == 1
    decisions = classifier.decision_function(images[two])
    assert decisions.shape == (len(two),)
    assert_array_equal(
        classifier.predict(images[two]), np.where(decisions > 0, "zero", "one")
    )
    assert classifier.score(images[two], names) == 1


@pytest.mark.parametrize("head", HEADS)
def test_class_weight(head, digits):
    images, labels = digits
    chosen = np.r_[np.flatnonzero(labels == 3)[:100], np.flatnonzero(labels == 8)[:10]]
    images, labels = images[chosen], labels[chosen]

    def decisions(class_weight):
        classifier = make(head=head, alpha=1.0, class_weight=class_weight)
        return classifier.fit(images, labels).decision_function(images)

    plain, balanced = decisions(None), decisions("balanced")
    assert balanced.mean() > plain.mean()
    assert_allclose(balanced, decisions({3: 110 / 200, 8: 110 / 20}), atol=1e-4)
    assert decisions({3: 1, 8: 100}).mean() > balanced.mean()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(20), "one class only"),
        (np.linspace(0, 1, 20), "Unknown label type|continuous"),
        (np.zeros((20, 2)), "1d array|shape"),
        (np.zeros(19), "inconsistent numbers of samples"),
        (np.full(20, np.nan), "NaN"),
    ],
)
def test_bad_labels(labels, message, digits, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match=message):
        make().fit(digits[0][:20], labels)


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_bad_class_weights(weight, digits, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match="class_weight must give every class"):
        make(class_weight={3: weight}).fit(digits[0][:50], digits[1][:50])


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.0},
        {"alpha": -1.0},
        {"alpha": "best"},
        {"alpha": [1e-3, 0]},
        {"alpha": []},
        {"head": "lasso"},
        {"class_weight": "even"},
        {"memory": 3},
        {"flip_average": "yes"},
    ],
)
def test_bad_parameters(parameters, digits, monkeypatch):
    monkeypatch.setattr("sklearn_ckn._features.CKNFeatures._learn", None)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        make(**parameters).fit(digits[0][:20], digits[1][:20])


def test_parameters_are_those_of_the_features_and_the_head():
    own = LinearPathClassifier().get_params()
    # The head alone takes splits of rows, in a pipeline.
    assert own.pop("cv") is None
    # In a classifier with a network, the loss is that of its head.
    own["head"] = own.pop("loss")
    # Features without labels have nothing to choose by.
    own |= dict.fromkeys(("whitening", "flip_average", "normalize"), "auto")
    features, classifier = CKNFeatures().get_params(), CKNClassifier().get_params()
    # The head alone is given features.
    assert classifier == {**features, **own, "streaming": "auto"}


def test_probabilities_in_blocks(digits):
    images, labels = digits[0][:300], digits[1][:300]
    classifier = make().fit(images, labels)
    predicted = classifier.predict_proba(images)
    with sklearn.config_context(working_memory=0.02):
        # Decisions agree within 1e-4, and are divided by a temperature near 0.2.
        assert_allclose(classifier.predict_proba(images), predicted, atol=5e-4)
    assert_allclose(np.exp(classifier.predict_log_proba(images)), predicted)
