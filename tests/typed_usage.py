"""How a user calls the package: mypy checks this file, and nothing runs it.

The comments that silence an error are themselves errors where there is none.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from sklearn_ckn import (
    AnchorsDisplay,
    CKNClassifier,
    CKNFeatures,
    CKNRegressor,
    ContributionDisplay,
    FeatureMapDisplay,
    LinearPathClassifier,
    PatchWhitening,
    SphericalKMeans,
    SupervisedCKNClassifier,
    TrainingDisplay,
    __version__,
    ckn_kernel,
)

Floats = NDArray[np.floating[Any]]

images = np.zeros((20, 8, 8, 3))
labels = ["cat", "dog"] * 10

classifier = CKNClassifier((8, 16), kernel=("exp", "poly"), random_state=0)
assert_type(classifier.fit(images, labels), CKNClassifier)
assert_type(classifier.predict_proba(images), Floats)
assert_type(classifier.features_, CKNFeatures)
assert_type(classifier.features_.anchors_, list[Floats])
assert_type(classifier.alpha_scores_, Floats)
assert_type(classifier.alpha_scoring_, str)
CKNClassifier(kmeans_max_iter=3, kmeans_tol=1e-3)
CKNClassifier(max_iter=3)  # type: ignore[call-arg]
CKNClassifier(kernel="gauss")  # type: ignore[arg-type]
CKNClassifier(patch_sizes=3)  # type: ignore[call-arg]
classifier.fit(images)  # type: ignore[call-arg]
assert_type(classifier.fit(images, labels, groups=range(20)), CKNClassifier)
assert_type(classifier.fit(images, labels, np.ones(20)), CKNClassifier)

supervised = SupervisedCKNClassifier.from_preset("mairal2016-5", n_epochs=1)
assert_type(supervised.fit(images, labels), SupervisedCKNClassifier)
SupervisedCKNClassifier(augment=lambda batch, random_state: batch[:, ::-1])
SupervisedCKNClassifier(augment="rotate")  # type: ignore[arg-type]

regressor = CKNRegressor(alpha=np.logspace(-6, 0, 7)).fit(images, range(20))
assert_type(regressor.predict(images), Floats)
assert_type(regressor.predict(images, return_std=True), tuple[Floats, Floats])

assert_type(PatchWhitening(power=0.5).fit(images).transform(images), Floats)
rows = images.reshape(20, -1)
assert_type(SphericalKMeans(2).fit(rows).predict(rows), NDArray[np.intp])
assert_type(SphericalKMeans(2).fit(rows, sample_weight=range(20)).score(rows), float)
head = LinearPathClassifier(loss="logistic", cv=3)
LinearPathClassifier(head="logistic")  # type: ignore[call-arg]
assert_type(head.fit(rows, labels, sample_weight=range(20)), LinearPathClassifier)
assert_type(ckn_kernel(images, n_layers=1, flip_average=True), Floats)
ckn_kernel(images, layers=1)  # type: ignore[call-arg]

AnchorsDisplay.from_estimator(classifier, layer=1, images=images).figure_.clear()
FeatureMapDisplay.from_estimator(classifier.features_, images[0], cmap="gray")
ContributionDisplay.from_estimator(classifier, images[0], target="cat").plot()
ContributionDisplay.from_estimator(classifier, images[0], method="shap")  # type: ignore[arg-type]
TrainingDisplay.from_estimator(images)  # type: ignore[arg-type]
assert_type(__version__, str)
