"""
Classification of signals
=========================

A time series of length T is an image with one row, of shape (1, T). The signals of this
example are generated. Each contains two events at random times, with random sizes and
noise: a short rise and a short oscillation in one order or the other, or two rises. The
class of a signal depends on local shapes and their order, not on single values.
"""

import numpy as np
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from sklearn_ckn import CKNClassifier

rng = np.random.RandomState(0)
length, n_signals = 128, 800
names = ["rise, oscillation", "oscillation, rise", "rise, rise"]
times = np.arange(length)


def event(kind, start):
    """Return a signal with one event that starts at the given time."""
    t = times - start
    inside = (t >= 0) & (t < 24)
    shape = t / 24 if kind == "rise" else np.sin(2 * np.pi * t / 8) / 2
    return rng.uniform(0.7, 1.3) * inside * shape


labels = rng.randint(len(names), size=n_signals)
signals = np.array(
    [
        event(first, rng.randint(0, 40)) + event(second, rng.randint(64, 104))
        for first, second in (names[label].split(", ") for label in labels)
    ]
)
signals += 0.4 * rng.normal(size=signals.shape)
X_train, X_test, y_train, y_test = train_test_split(
    signals, labels, train_size=60, stratify=labels, random_state=0
)

# %%
# The rows of ``signals`` are images with ``image_shape=(1, length)``. Along an axis of
# length 1 patches have side 1, so patches of the first layer are 7 values of the
# signal.

network = CKNClassifier(
    (32, 64), patch_size=(7, 3), image_shape=(1, length), random_state=0
)
models = {
    "CKN": network,
    "Gaussian SVM": GridSearchCV(
        SVC(), {"gamma": [0.003, 0.01, 0.03], "C": [1, 10]}, cv=5
    ),
    "nearest neighbour": KNeighborsClassifier(1),
}
for name, model in models.items():
    score = model.fit(X_train, y_train).score(X_test, y_test)
    print(f"{name.ljust(18)} {100 * score:5.1f} %")
print("map of the last layer:", network.features_.output_shape_)

# %%
# Sixty labelled signals are few for models that compare values at fixed times. The
# network compares shapes wherever they are.
#
# The last map has three positions, so the linear head can tell early events from late
# ones. This is one signal of each class:

import matplotlib.pyplot as plt

figure, axes = plt.subplots(
    3, 1, figsize=(7, 4), sharex=True, sharey=True, layout="constrained"
)
for label, axis in enumerate(axes):
    axis.plot(signals[labels == label][0], linewidth=1)
    axis.set_title(names[label], fontsize="medium")
axes[-1].set_xlabel("time")
plt.show()

# %%
# The anchors of the first layer are pieces of signals:

figure, axes = plt.subplots(2, 16, figsize=(8, 1.6), sharey=True, layout="constrained")
for axis, anchor in zip(axes.flat, network.features_.anchors_[0], strict=True):
    axis.plot(anchor)
    axis.set(xticks=[], yticks=[])
plt.show()
