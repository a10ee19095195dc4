"""
Handwritten digits in ten lines
===============================

A convolutional kernel network learns to classify the 8 x 8 digits that come with
scikit-learn. The script prints the accuracy on held-out digits, and shows the anchors
of the first layer: the patches that all patches of an image are compared with.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ckn import AnchorsDisplay, CKNClassifier

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
)
classifier = CKNClassifier(random_state=0).fit(X_train, y_train)
print(f"held-out accuracy: {100 * classifier.score(X_test, y_test):.2f} %")

# %%
# The anchors of the first layer are patches of unit norm. Bright pixels are positive.

import matplotlib.pyplot as plt

AnchorsDisplay.from_estimator(classifier)
plt.show()
