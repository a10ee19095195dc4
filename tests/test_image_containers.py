"""Images in frames, series and pipelines: what goes in, and what comes out."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    LinearPathClassifier,
    PatchWhitening,
    SupervisedCKNClassifier,
    ckn_kernel,
)

IMAGES = np.random.RandomState(0).rand(12, 6, 5)
LABELS = np.arange(12) % 3

FRAMES = {
    "pandas": lambda: pd.DataFrame({"image": list(IMAGES)}),
    "pandas, lists": lambda: pd.DataFrame({"image": IMAGES.tolist()}),
    "polars, arrays": lambda: pl.DataFrame({"image": IMAGES}),
    "polars, lists": lambda: pl.DataFrame({"image": IMAGES.tolist()}),
    "polars, objects": lambda: pl.DataFrame(
        {"image": pl.Series(list(IMAGES), dtype=pl.Object)}
    ),
}


def make(estimator=CKNFeatures, **parameters):
    return estimator((3, 4), random_state=0, **parameters)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_with_one_column_of_images(name):
    frame = FRAMES[name]()
    features = make().fit(frame)
    expected = make().fit_transform(IMAGES)
    assert_array_equal(features.transform(frame), expected)
    assert_array_equal(features.transform(IMAGES), expected)
    assert_array_equal(make().fit(IMAGES).transform(frame), expected)
    # The pixels have no names: the one there is belongs to the images.
    assert features.n_features_in_ == 30
    assert not hasattr(features, "feature_names_in_")
    classifier = make(CKNClassifier).fit(frame, LABELS)
    assert_array_equal(
        classifier.decision_function(frame), classifier.decision_function(IMAGES)
    )
    assert_array_equal(
        PatchWhitening().fit_transform(frame), PatchWhitening().fit_transform(IMAGES)
    )
    assert_array_equal(ckn_kernel(frame), ckn_kernel(IMAGES))


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("column", ["image", ["image"]])
def test_column_transformer(name, column):
    frame = FRAMES[name]()
    expected = make().fit_transform(IMAGES)
    network = make_pipeline(PatchWhitening(), make())
    columns = ColumnTransformer([("x", make(), column), ("y", network, column)])
    both = np.hstack(
        [expected, make_pipeline(PatchWhitening(), make()).fit_transform(IMAGES)]
    )
    assert_array_equal(columns.fit_transform(frame), both)
    assert_array_equal(columns.transform(frame), both)
    names = [f"x__cknfeatures{i}" for i in range(expected.shape[1])]
    assert columns.get_feature_names_out().tolist()[: len(names)] == names
    wrapped = columns.set_output(transform="pandas").fit_transform(frame)
    assert wrapped.columns.tolist()[: len(names)] == names
    assert_array_equal(wrapped.to_numpy(), both)


@pytest.mark.parametrize(
    "wrap", [lambda rows: pd.Series(list(rows)), lambda rows: pl.Series(rows.tolist())]
)
def test_a_series_of_rows(wrap):
    rows = wrap(IMAGES.reshape(12, -1))
    expected = make().fit_transform(IMAGES)
    assert_array_equal(make(image_shape=(6, 5)).fit_transform(rows), expected)
    assert_array_equal(make().fit(IMAGES).transform(rows), expected)


def test_a_series_of_pictures():
    image = pytest.importorskip("PIL.Image")
    images = (255 * IMAGES).astype(np.uint8)
    pictures = [image.fromarray(each) for each in images]
    expected = make().fit_transform(images)
    for wrapped in (pictures, pd.Series(pictures), pd.DataFrame({"image": pictures})):
        assert_array_equal(make().fit_transform(wrapped), expected)


@pytest.mark.parametrize("module", [pd, pl])
@pytest.mark.parametrize("estimator", [CKNFeatures, CKNClassifier])
def test_images_beside_other_columns(module, estimator):
    images = list(IMAGES) if module is pd else IMAGES
    frame = module.DataFrame({"age": [1.0] * 12, "image": images})
    with pytest.raises(ValueError, match=r"2 columns.*'image' holds.*X\['image'\]"):
        make(estimator).fit(frame, LABELS)


@pytest.mark.parametrize("module", [pd, pl])
def test_columns_of_unequal_images(module):
    frame = module.DataFrame({"image": [IMAGES[0].tolist(), IMAGES[1, :5].tolist()]})
    # A column of lists of polars has their lengths alone.
    with pytest.raises(ValueError, match=r"\(6,.*and \(5,.*Crop or resize"):
        make().fit(frame)


def test_a_frame_with_one_column_of_numbers():
    frame = pd.DataFrame({"grey": np.arange(1.0, 13.0)})
    features = CKNFeatures(1, image_shape=(1, 1), random_state=0).fit(frame)
    assert features.feature_names_in_.tolist() == ["grey"]
    assert features.get_feature_names_out(["grey"]).tolist() == ["cknfeatures0"]


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("images", [IMAGES, np.stack([IMAGES] * 3, axis=-1)])
def test_whitened_images_pass_through_pipelines(container, images):
    """A data frame has two axes: images stay arrays, their features are wrapped."""
    expected = make_pipeline(PatchWhitening(), make()).fit_transform(images)
    whitened = PatchWhitening().fit_transform(images)
    pipeline = make_pipeline(PatchWhitening(), make())
    frame = pipeline.set_output(transform=container).fit_transform(images)
    assert isinstance(frame, {"pandas": pd, "polars": pl}[container].DataFrame)
    assert_array_equal(frame.to_numpy(), expected)
    assert_array_equal(pipeline.transform(images).to_numpy(), expected)
    with sklearn.config_context(transform_output=container):
        whitening = PatchWhitening()
        for result in (whitening.fit_transform(images), whitening.transform(images)):
            assert type(result) is np.ndarray
            assert_array_equal(result, whitened)
        classifier = make_pipeline(PatchWhitening(), make(CKNClassifier))
        predicted = classifier.fit(images, LABELS).predict(images)
    classifier = make_pipeline(PatchWhitening(), make(CKNClassifier))
    assert_array_equal(predicted, classifier.fit(images, LABELS).predict(images))


@pytest.mark.parametrize("container", ["default", "pandas", "polars"])
@pytest.mark.parametrize("estimator", [CKNClassifier, SupervisedCKNClassifier])
def test_the_container_changes_no_prediction(container, estimator):
    """Neither in a search or a cross-validation, nor behind other steps."""
    epochs = {"n_epochs": 1} if estimator is SupervisedCKNClassifier else {}
    whole = make_pipeline(PatchWhitening(), make(estimator, alpha=1e-2, **epochs))
    features = make_pipeline(
        PatchWhitening(), make(), StandardScaler(), LinearPathClassifier(alpha=1e-2)
    )
    for pipeline in (whole, features):
        power = {"patchwhitening__power": [0.1, 0.3]}
        expected_scores = cross_val_score(pipeline, IMAGES, LABELS, cv=2)
        expected = GridSearchCV(pipeline, power, cv=2).fit(IMAGES, LABELS)
        with sklearn.config_context(transform_output=container):
            scores = cross_val_score(pipeline, IMAGES, LABELS, cv=2)
            search = GridSearchCV(pipeline, power, cv=2).fit(IMAGES, LABELS)
            probabilities = search.predict_proba(IMAGES)
        assert_array_equal(scores, expected_scores)
        assert_array_equal(
            search.cv_results_["mean_test_score"],
            expected.cv_results_["mean_test_score"],
        )
        assert_array_equal(probabilities, expected.predict_proba(IMAGES))


@pytest.mark.parametrize("column", ["image", ["image"]])
def test_columns_of_images_keep_their_index(column):
    """Without it pandas would put columns of other rows together, or add rows."""
    index = np.arange(112, 100, -1)
    frame = pd.DataFrame({"image": list(IMAGES), "age": np.arange(12.0)}, index=index)
    network = make_pipeline(PatchWhitening(), make())
    expected = network.fit_transform(IMAGES)
    columns = ColumnTransformer(
        [("x", network, column), ("y", "passthrough", ["age"])]
    ).set_output(transform="pandas")
    wrapped = columns.fit_transform(frame)
    assert_array_equal(wrapped.index, index)
    assert_array_equal(wrapped.to_numpy()[:, :-1], expected)
    assert_array_equal(wrapped["y__age"], frame["age"])
    union = make_union(network, make()).set_output(transform="pandas")
    wrapped = union.fit_transform(frame[column])
    assert_array_equal(wrapped.index, index)
    both = np.hstack([expected, make().fit_transform(IMAGES)])
    assert_array_equal(wrapped.to_numpy(), both)
    classifier = make_pipeline(columns, LinearPathClassifier(alpha=1e-2))
    scores = cross_val_score(classifier, frame, LABELS, cv=2, error_score="raise")
    assert scores.shape == (2,)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_whitened_columns_of_images(container):
    index = np.arange(112, 100, -1)
    frame = pd.DataFrame({"image": list(IMAGES)}, index=index)
    whitening = PatchWhitening().fit(IMAGES)
    expected = whitening.transform(IMAGES)
    assert_array_equal(whitening.transform(frame), expected)
    whitening.set_output(transform=container)
    for images in (frame, frame["image"], frame["image"].rename(None)):
        whitened = whitening.transform(images)
        if container == "pandas":
            assert_array_equal(whitened.index, index)
            assert whitened.shape == (12, 1)
            whitened = np.stack(whitened.iloc[:, 0])
        assert_array_equal(whitened, expected)
    # An array has no index to lose, and polars has none.
    assert type(whitening.transform(IMAGES)) is np.ndarray
    polars = pl.DataFrame({"image": IMAGES})
    assert_array_equal(whitening.transform(polars), expected)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_whitened_rows_are_wrapped(container):
    rows = IMAGES.reshape(12, -1)
    whitening = PatchWhitening(image_shape=(6, 5)).set_output(transform=container)
    expected = PatchWhitening().fit_transform(IMAGES).reshape(12, -1)
    for result in (whitening.fit_transform(rows), whitening.transform(rows)):
        assert isinstance(result, {"pandas": pd, "polars": pl}[container].DataFrame)
        assert list(result.columns) == [f"x{i}" for i in range(30)]
        assert_array_equal(result.to_numpy(), expected)
    indexed = pd.DataFrame(rows, index=np.arange(12)[::-1])
    wrapped = whitening.set_output(transform="pandas").fit_transform(indexed)
    assert_array_equal(wrapped.index, indexed.index)
