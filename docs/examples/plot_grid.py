"""
Grid search over beta and the patch size
========================================

``beta`` controls how quickly the kernel between two patches falls with the angle
between them, and ``patch_size`` how much of the image a patch covers. A grid search
over both shows how much they matter on 600 digits. The folder ``memory`` stores what
several candidates have in common: the anchors of the first layer do not depend on
``beta``.
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
# The candidates are in the order of the sorted parameter names, and the last parameter
# changes fastest. Their scores can therefore be reshaped to a matrix of betas by patch
# sizes.

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
# Are the differences larger than chance? The standard error of each score follows from
# its spread over the folds. We compare it with the range of the scores for betas up to
# 4, and of all scores:

print(f"standard error: {errors.mean():.2f} points")
upto_4 = scores[: betas.index(4.0) + 1]
print(f"betas up to 4: {upto_4.min():.1f} to {upto_4.max():.1f} %")
print(f"all: {scores.min():.1f} to {scores.max():.1f} %")

# %%
# Up to beta 4, the scores are within a few standard errors of each other. With larger
# beta, each anchor responds only to patches close to it, and 32 anchors no longer cover
# all patches. Larger patches, which have more dimensions, suffer most.
