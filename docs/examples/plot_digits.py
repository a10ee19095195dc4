"""
Handwritten digits in ten lines
===============================

A convolutional kernel network learns to read the 8 x 8 digits that ship with
scikit-learn, prints its accuracy on digits it has not seen, and shows the anchors
of its first layer: the patches that all others are compared with.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ckn import CKNClassifier

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
)
classifier = CKNClassifier(random_state=0).fit(X_train, y_train)
print(f"held-out accuracy: {100 * classifier.score(X_test, y_test):.2f} %")

# %%
# The anchors of the first layer have unit norm. Bright is positive.

import matplotlib.pyplot as plt

anchors = classifier.features_.anchors_[0]
order = anchors.std(axis=1).argsort()
figure, axes = plt.subplots(4, 16, figsize=(8, 2.2))
for axis in axes.flat:
    axis.set_axis_off()
for axis, anchor in zip(axes.flat, anchors[order], strict=False):
    axis.imshow(anchor.reshape(3, 3), cmap="gray", vmin=0, vmax=1)
figure.suptitle("Anchors of the first layer")

plt.show()
