"""
Features compared with the exact kernel
=======================================

The features of a convolutional kernel network approximate a kernel between images.
``ckn_kernel`` computes this kernel exactly, in a time that grows with the square of the
number of images. This example trains a support vector machine with the exact kernel,
and others with the features of networks with more and more anchors. It compares their
accuracy on 400 held-out digits, the total time, and how far the inner products of the
features are from the exact kernel.
"""

from time import perf_counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from sklearn_ckn import CKNFeatures, ckn_kernel

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images,
    digits.target,
    train_size=400,
    test_size=400,
    stratify=digits.target,
    random_state=0,
)


def accuracy(K_train, K_test):
    """Return the accuracy on the test digits of a support vector machine, in %."""
    # C is relative to the scale of the kernel, and so to the scale of the images.
    scale = K_train.diagonal().mean()
    machine = SVC(kernel="precomputed", C=10).fit(K_train / scale, y_train)
    return 100 * machine.score(K_test / scale, y_test)


start = perf_counter()
K_train = ckn_kernel(X_train, n_jobs=-1)
exact_accuracy = accuracy(K_train, ckn_kernel(X_test, X_train, n_jobs=-1))
exact_time = perf_counter() - start

# %%
# Both layers get the same number of anchors. With a small ``nystrom_reg``, the number
# of anchors is the only difference from the exact kernel.

numbers = [16, 64, 256, 1024]
accuracies, times, errors = [], [], []
for n_anchors in numbers:
    start = perf_counter()
    features = CKNFeatures((n_anchors, n_anchors), nystrom_reg=1e-6, random_state=0)
    F_train = features.fit_transform(X_train)
    F_test = features.transform(X_test)
    accuracies.append(accuracy(F_train @ F_train.T, F_test @ F_train.T))
    times.append(perf_counter() - start)
    difference = np.linalg.norm(F_train @ F_train.T - K_train)
    errors.append(difference / np.linalg.norm(K_train))

print("anchors   accuracy %   relative error   seconds")
for row in zip(numbers, accuracies, errors, times, strict=True):
    print("{:7d}   {:10.1f}   {:14.5f}   {:7.2f}".format(*row))
print(f"  exact   {exact_accuracy:10.1f}   {0:14.5f}   {exact_time:7.2f}")

# %%
# With more anchors the features approximate the kernel better, and their accuracy
# approaches that of the exact kernel. Their time grows with the number of images, not
# with its square.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for axis, values, exact, title in zip(
    axes,
    [accuracies, times, errors],
    [exact_accuracy, exact_time, None],
    ["Accuracy, %", "Time, s", "Relative error of the kernel matrix"],
    strict=True,
):
    axis.semilogx(numbers, values, "o-", base=2, label="features")
    if exact is not None:
        axis.axhline(exact, color="black", linestyle="--", label="exact kernel")
    axis.set(xticks=numbers, xticklabels=numbers, xlabel="anchors per layer")
    axis.set_title(title, fontsize="medium")
axes[1].set_yscale("log")
axes[2].set_yscale("log")
axes[0].legend()

plt.show()
