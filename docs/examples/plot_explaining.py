"""
A model that looks at the wrong thing
=====================================

In this example the training images have a flaw, as real ones often have: a mark beside
the object that tells the class, such as a date, a ruler or the stamp of one hospital.
Here the digits 3 have a small bright mark in a corner. The accuracy on images with the
same flaw does not show that the model has learned the mark.
:class:`~sklearn_ckn.ContributionDisplay` does.
"""

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ckn import CKNClassifier, ContributionDisplay

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, stratify=digits.target, random_state=0
)


def with_mark(images):
    """Return images with a mark of 2 x 2 pixels in the upper right corner."""
    marked = images.copy()
    marked[:, :2, -2:] = 16
    return marked


def flawed(images, labels):
    """Return images of which those of the digit 3 have the mark."""
    is_three = (labels == 3)[:, np.newaxis, np.newaxis]
    return np.where(is_three, with_mark(images), images)


model = CKNClassifier((16, 32), subsampling=(1, 2), alpha=1e-3, random_state=0)
model.fit(flawed(X_train, y_train), y_train)

# %%
# On test images with the same flaw the model is accurate. But without the mark most
# digits 3 are not recognized, and with it nearly half of the others are taken for 3.

three = y_test == 3
flawed_score = model.score(flawed(X_test, y_test), y_test)
recognized = np.mean(model.predict(X_test[three]) == 3)
mistaken = np.mean(model.predict(with_mark(X_test[~three])) == 3)
print(f"accuracy on images with the flaw:       {100 * flawed_score:.1f} %")
print(f"digits 3 recognized without the mark:   {100 * recognized:.1f} %")
print(f"other digits with the mark taken for 3: {100 * mistaken:.1f} %")

# %%
# One would not make these tests without a suspicion. But it is enough to ask what
# speaks for the class in one of the images. Red parts speak for the digit 3, blue ones
# against it.
#
# - ``"positions"`` divides the decision exactly into parts of the positions of the last
#   map, here compared with the mean of the training images.
# - ``"gradient"`` is the change of the decision with each pixel.
# - ``"occlusion"`` is what the decision loses when a window of the image is hidden.

import matplotlib.pyplot as plt

METHODS = ["positions", "gradient", "occlusion"]


def explain(model, image, reference):
    """Draw the three views of the decision for the digit 3."""
    _, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for ax, method in zip(axes, METHODS, strict=True):
        ContributionDisplay.from_estimator(
            model,
            image,
            target=3,
            method=method,
            reference=reference,
            window=2,
            step=1,
            ax=ax,
        )
        ax.set_title(f"{method}\n{ax.get_title()}", fontsize="medium")
    plt.show()


image = with_mark(X_test[three])[0]
explain(model, image, flawed(X_train, y_train))

# %%
# All three methods show that the mark decides. A model that was trained on the images
# without the flaw looks at the strokes of the same image, and hardly at the mark.

honest = clone(model).fit(X_train, y_train)
recognized = np.mean(honest.predict(X_test[three]) == 3)
print(f"digits 3 recognized without the mark: {100 * recognized:.1f} %")
explain(honest, image, X_train)

# sphinx_gallery_thumbnail_number = 1
