"""
Which images are confused
=========================

A confusion matrix shows which classes a classifier takes for each other, and its
probabilities show which images it is least sure about. Here it is trained on 300
handwritten digits, few enough for some mistakes. :doc:`/guide/files` reads images from
a folder of files; everything after that is as here.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ckn import CKNClassifier

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, train_size=300, stratify=digits.target, random_state=0
)
model = CKNClassifier(random_state=0).fit(X_train, y_train)
print(f"held-out accuracy: {100 * model.score(X_test, y_test):.1f} %")

# %%
# Rows are the true classes and columns the predicted ones. The images beside the
# diagonal are the mistakes.

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

ConfusionMatrixDisplay.from_estimator(
    model, X_test, y_test, cmap="Blues", colorbar=False
)
plt.show()

# %%
# The twelve test images whose highest probability is lowest, with their true class,
# the predicted one and its probability. Looking at such images often shows what is
# wrong with the data: a wrong label, an object that was cut off, or a class that needs
# more examples.

probabilities = model.predict_proba(X_test)
predicted = model.classes_[probabilities.argmax(axis=1)]
uncertain = probabilities.max(axis=1).argsort()[:12]
_, axes = plt.subplots(2, 6, figsize=(9, 3.8), layout="constrained")
for ax, i in zip(axes.flat, uncertain, strict=True):
    ax.imshow(X_test[i], cmap="gray_r")
    ax.set_title(
        f"true {y_test[i]}\npredicted {predicted[i]}: {probabilities[i].max():.2f}",
        color="black" if predicted[i] == y_test[i] else "firebrick",
        fontsize="medium",
    )
    ax.set_axis_off()
plt.show()

# %%
# The mistakes, with red titles, are more frequent among them than among all images.

mistakes = predicted != y_test
print(f"mistakes among the {len(uncertain)}: {mistakes[uncertain].sum()}")
print(f"mistakes among all {len(y_test)} test images: {mistakes.sum()}")

# sphinx_gallery_thumbnail_number = 2
