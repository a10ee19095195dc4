"""
Whitening colour images
=======================

Neighbouring pixels of a photograph are similar, and so are its three colour channels,
so a patch holds little more than its brightness. :class:`~sklearn_ckn.PatchWhitening`
subtracts the mean of every patch and amplifies what is rare: fine detail and
differences in colour. In this example it is fitted on tiles of the two photographs that
come with scikit-learn. It helps in one task and harms in another.
"""

import numpy as np
from sklearn.datasets import load_sample_images

from sklearn_ckn import CKNClassifier, PatchWhitening

side = 16
photographs = load_sample_images().images


def tiles(photograph):
    """Cut a photograph into square tiles, rows of tiles first."""
    height, width = (size // side for size in photograph.shape[:2])
    cut = photograph[: height * side, : width * side]
    cut = cut.reshape(height, side, width, side, 3).swapaxes(1, 2)
    return cut


# %%
# How much does each direction of the centred patches contribute to their second
# moments? Whitening with power 1/2 would make all directions equal, and noise as strong
# as edges. The default power of 1/4 goes half of the way.

grids = [tiles(photograph) for photograph in photographs]
everything = np.concatenate([grid.reshape(-1, side, side, 3) for grid in grids])
whitening = PatchWhitening().fit(everything)
share = whitening.eigenvalues_ / whitening.eigenvalues_.sum()
print(f"directions: {len(share)}")
print(f"first three: {100 * share[:3].sum():.0f} % of the second moments")
print(f"last twelve: {100 * share[-12:].sum():.1f} %")

# %%
# The directions as patches, from the strongest to the weakest. The strong ones are
# brightness gradients, the weak ones are fine patterns in colour.

import matplotlib.pyplot as plt


def displayed(values):
    """Scale values around zero to the range from 0 to 1, with 0 as grey."""
    return np.clip(0.5 + values / (6 * values.std()), 0, 1)


figure, axes = plt.subplots(2, 12, figsize=(8, 1.7), layout="constrained")
for axis, component in zip(axes.flat, whitening.components_, strict=True):
    axis.imshow(displayed(component.reshape(3, 3, 3)))
    axis.set_axis_off()
plt.show()

# %%
# One of the photographs before and after whitening. The whitened one is scaled for
# display.

whitened = whitening.transform(everything[: len(everything) // 2])
height, width = grids[0].shape[:2]
whitened = whitened.reshape(height, width, side, side, 3).swapaxes(1, 2)
whitened = whitened.reshape(height * side, width * side, 3)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
axes[0].imshow(photographs[0])
axes[1].imshow(displayed(whitened))
for axis, title in zip(axes, ["photograph", "whitened in tiles"], strict=True):
    axis.set_title(title, fontsize="medium")
    axis.set_axis_off()
plt.show()

# %%
# Does whitening help? Every tile gets a faint grating of one of three directions, with
# an amplitude of 6 of 255 grey levels. The direction is the class. The network is
# trained on the left half of both photographs and tested on the right half.

rng = np.random.RandomState(0)
rows, columns = np.mgrid[:side, :side]


def grating(label):
    """Return a grating of random phase in the direction of a class."""
    angle, phase = np.pi * label / 3, rng.uniform(0, 2 * np.pi)
    wave = np.cos(2 * (np.cos(angle) * columns + np.sin(angle) * rows) + phase)
    return 6 * wave[:, :, np.newaxis]


def half(part):
    """Return tiles of some columns with gratings, their classes and photographs."""
    parts = [grid[:, part].reshape(-1, side, side, 3) for grid in grids]
    plain = np.concatenate(parts)
    labels = rng.randint(3, size=len(plain))
    images = plain + np.array([grating(label) for label in labels])
    origins = np.repeat([0, 1], [len(each) for each in parts])
    return images.astype(np.float32), labels, origins


n_columns = grids[0].shape[1]
X_train, *targets_train = half(slice(0, n_columns // 2))
X_test, *targets_test = half(slice(n_columns // 2, n_columns))
tasks = ["which grating", "which photograph"]
for task, y_train, y_test in zip(tasks, targets_train, targets_test, strict=True):
    for name, power in {"raw": None, "whitened": 0.25, "chosen": "auto"}.items():
        models = [
            CKNClassifier(
                (32, 64), whitening=power, flip_average=False, random_state=seed
            ).fit(X_train, y_train)
            for seed in range(3)
        ]
        accuracy = np.mean([model.score(X_test, y_test) for model in models])
        choices = {model.whitening_ for model in models}
        print(f"{task}, {name} {choices}: {100 * accuracy:.1f} %")

# %%
# Whitening makes the fine detail visible that was hidden by brightness. The second task
# uses the same tiles and asks which photograph each tile is from. In that task the
# colour of the whole tile says most, and whitening removes it. Therefore the default
# ``whitening="auto"`` decides by predictions for held-out training images.

# sphinx_gallery_thumbnail_number = 2
