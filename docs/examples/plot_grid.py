"""
A grid over beta and the patch size
===================================

``beta`` says how quickly the similarity of two patches falls with the angle between
them, ``patch_size`` how much of the image a patch holds. A grid search over both shows
how much they matter on 600 digits. The folder given as ``memory`` keeps what does not
change between candidates: the first layer's anchors do not depend on ``beta``.
"""

from tempfile import TemporaryDirectory

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_ckn import CKNClassifier

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, train_size=600, stratify=digits.target, random_state=0
)
betas = [0.5, 1.0, 2.0, 2.8, 4.0, 8.0, 16.0]
patch_sizes = [2, 3, 4, 5]

with TemporaryDirectory() as folder:
    search = GridSearchCV(
        CKNClassifier((32, 64), memory=folder, random_state=0),
        {"beta": betas, "patch_size": patch_sizes},
        cv=3,
    )
    search.fit(X_train, y_train)
print("best:", search.best_params_)
print(f"cross-validated accuracy: {100 * search.best_score_:.1f} %")
print(f"held-out accuracy: {100 * search.score(X_test, y_test):.1f} %")

# %%
# Candidates come out in the order of the sorted parameter names, the last one changing
# fastest, so that their scores are a matrix of betas by patch sizes.

import matplotlib.pyplot as plt

results = search.cv_results_
shape = len(betas), len(patch_sizes)
scores = 100 * results["mean_test_score"].reshape(shape)
errors = 100 * results["std_test_score"].reshape(shape) / np.sqrt(search.n_splits_)

figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
image = axis.imshow(scores, origin="lower", aspect="auto", cmap="viridis")
axis.set(
    xticks=range(len(patch_sizes)),
    xticklabels=patch_sizes,
    yticks=range(len(betas)),
    yticklabels=betas,
    xlabel="patch_size",
    ylabel="beta",
)
middle = (scores.max() + scores.min()) / 2
for (row, column), score in np.ndenumerate(scores):
    color = "black" if score > middle else "white"
    axis.text(column, row, f"{score:.1f}", ha="center", va="center", color=color)
figure.colorbar(image, label="cross-validated accuracy, %")
plt.show()

# %%
# Are the differences more than chance? The standard error of a cell, from the spread
# over the folds, and the range of the scores with betas up to 4 and of all:

print(f"standard error: {errors.mean():.2f} points")
upto_4 = scores[: betas.index(4.0) + 1]
print(f"betas up to 4: {upto_4.min():.1f} to {upto_4.max():.1f} %")
print(f"all: {scores.min():.1f} to {scores.max():.1f} %")

# %%
# Up to beta 4 the scores are within a few standard errors of each other. Beyond, every
# anchor sees only what is close to it, 32 of them no longer cover the patches, and
# larger patches, which have more dimensions, suffer most.
