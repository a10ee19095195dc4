"""
Patterns anywhere in a signal
=============================

``CKNClassifier.for_signals`` compares the patterns that signals contain, wherever they
are. Every signal of this example has noise, and at a random time one short sweep whose
frequency rises, falls, or rises and falls. The signals of two classes are each other's
mirror images in time, with equal spectra, and no single value tells any class.
"""

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from sklearn_ckn import CKNClassifier, CKNRegressor, signals_to_images

rng = np.random.RandomState(0)
length, duration, n_signals = 256, 64, 600
names = ["rises", "falls", "rises and falls"]


def sweep(label, lowest=0.03, highest=0.2):
    """Return a sweep of a class, between two frequencies in cycles per sample."""
    course = np.linspace(0, 1, duration)
    if label == 1:
        course = course[::-1]
    elif label == 2:
        course = 1 - abs(2 * course - 1)
    frequencies = lowest + (highest - lowest) * course
    phase = 2 * np.pi * (np.cumsum(frequencies) + rng.uniform())
    return np.hanning(duration) * np.sin(phase)


def place(pattern, noise=0.3):
    """Return a signal of noise with a pattern at a random time."""
    signal = rng.normal(scale=noise, size=length)
    start = rng.randint(length - duration)
    signal[start : start + duration] += pattern
    return signal


labels = rng.randint(len(names), size=n_signals)
signals = np.array([place(sweep(label)) for label in labels])
X_train, X_test, y_train, y_test = train_test_split(
    signals, labels, train_size=200, stratify=labels, random_state=0
)

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
# Rows of an array are signals with ``image_shape=(1, length)``. A network with the
# default parameters keeps three positions of its last map, so it has to see each
# pattern in every third of the signal. The other models compare values at equal times.

one_row = {"image_shape": (1, length), "random_state": 0}
models = {
    "CKN for signals": CKNClassifier.for_signals(**one_row),
    "CKN by default": CKNClassifier(**one_row),
    "Gaussian SVM": SVC(C=10),
    "nearest neighbour": KNeighborsClassifier(1),
}
for name, model in models.items():
    score = model.fit(X_train, y_train).score(X_test, y_test)
    print(f"{name:18} {100 * score:5.1f} %")

# %%
# The features are joined from five branches for each dilation: of patches as they are,
# and of the centred patches of the signal and of its differences, each with and without
# their norms. Each branch has one feature per anchor, the mean over all positions.

network = models["CKN for signals"].features_
print("features:", network.transform(X_test).shape)

# %%
# What happens if the signals that are to be classified have another level or size than
# those of the training? The level matters to one branch in five, the others remove it
# from every signal and every patch. The size matters to the branches with norms, three
# in five. If neither means anything, z-normalise the signals: to mean 0 and standard
# deviation 1.


def normalize(signals):
    """Return signals of mean 0 and standard deviation 1."""
    signals = signals - signals.mean(axis=1, keepdims=True)
    return signals / signals.std(axis=1, keepdims=True)


normalized = CKNClassifier.for_signals(**one_row).fit(normalize(X_train), y_train)
ways = {
    "for signals": (models["CKN for signals"], np.asarray),
    "for signals, z-normalised": (normalized, normalize),
    "by default": (models["CKN by default"], np.asarray),
}
levels, sizes = [0, 0.25, 0.5, 1, 2], [0.25, 0.5, 1, 2, 4]
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for name, (model, prepare) in ways.items():
    moved = [model.score(prepare(X_test + level), y_test) for level in levels]
    scaled = [model.score(prepare(size * X_test), y_test) for size in sizes]
    axes[0].plot(levels, moved, marker="o", label=name)
    axes[1].plot(sizes, scaled, marker="o", label=name)
axes[0].set(xlabel="added level", ylabel="accuracy")
axes[1].set_xscale("log", base=2)
axes[1].set_xlabel("factor")
axes[0].legend()
plt.show()

# %%
# Packages for time series have signals of several channels as arrays (n, channels,
# length), which would be read as images of one channel. ``signals_to_images`` puts the
# channels last. Patches hold the samples of all channels. Here two sensors swing
# together or against each other, which neither of them tells alone:

together = rng.randint(2, size=n_signals)
pairs = []
for label, sign in zip(labels, 2 * together - 1, strict=True):
    clean = place(sweep(label), noise=0)
    pairs.append([clean, sign * clean])
pairs = np.array(pairs) + rng.normal(scale=0.3, size=(n_signals, 2, length))
images = signals_to_images(pairs)
print(pairs.shape, "becomes", images.shape)
two = CKNClassifier.for_signals(random_state=0).fit(images[:200], together[:200])
print(f"two channels: {100 * two.score(images[200:], together[200:]):.1f} %")

# %%
# ``CKNRegressor.for_signals`` predicts numbers, as the highest frequency of a sweep:

frequencies = rng.uniform(0.1, 0.3, size=n_signals)
signals = np.array([place(sweep(0, highest=each)) for each in frequencies])
regressor = CKNRegressor.for_signals(**one_row)
regressor.fit(signals[:400], frequencies[:400])
predicted = regressor.predict(signals[400:])
print(f"R2: {regressor.score(signals[400:], frequencies[400:]):.2f}")

figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
axis.plot(frequencies[400:], predicted, ".")
axis.axline((0.2, 0.2), slope=1, color="grey", linewidth=1)
axis.set(xlabel="highest frequency", ylabel="predicted", aspect="equal")
plt.show()

# %%
# MiniRocket of the package aeon is called alike, with arrays (n, channels, length):
#
# .. code-block:: python
#
#    from aeon.classification.convolution_based import MiniRocketClassifier
#
#    MiniRocketClassifier(random_state=0).fit(X_train[:, np.newaxis], y_train)
#
# On the signals of this example it reaches 99 %. ``benchmarks/signals.py`` compares the
# two on sets of the UCR and UEA archives, where they are equally accurate on average
# (:doc:`/guide/signals`).

# sphinx_gallery_thumbnail_number = 2
