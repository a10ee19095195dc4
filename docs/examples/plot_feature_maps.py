"""
One image through the layers
============================

This example shows the maps that a network computes of a photograph, layer by layer. A
map has one channel per anchor. Before the projection, the value of a channel at a
position tells how similar the patch there is to the anchor; the projection mixes the
channels so that inner products approximate the kernel. Before pooling, the norm of the
map at a position is the norm of the patch there, except for the part that the anchors
miss.
"""

from itertools import pairwise

import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.decomposition import PCA

from sklearn_ckn import (
    AnchorsDisplay,
    CKNFeatures,
    FeatureMapDisplay,
    PatchWhitening,
)

# Every third pixel of the flower, as an image (1, height, width, 3).
image = load_sample_image("flower.jpg")[::3, ::3][np.newaxis]
whitened = PatchWhitening().fit_transform(image)
print("image:", image.shape[1:])

# %%
# ``transform`` returns the map of the last layer. A network with fewer layers and the
# same ``random_state`` learns the same first layers, so three fits give the maps of all
# three layers.

networks, maps = [], []
for n_layers in (1, 2, 3):
    network = CKNFeatures(
        (32, 64, 128)[:n_layers], subsampling=2, n_patches=20_000, random_state=0
    ).fit(whitened)
    networks.append(network)
    maps.append(network.transform(whitened).reshape(network.output_shape_))
for shallow, deep in pairwise(networks):
    for one, other in zip(shallow.anchors_, deep.anchors_, strict=False):
        assert np.array_equal(one, other)
for network in networks:
    residual = network.nystrom_residual_[-1]
    print(f"map {network.output_shape_}, Nystroem residual {residual:.3f}")

# %%
# A patch of the whitened image has 27 values, and in so many dimensions the patches
# point in all directions. Few patches are close to one of 32 anchors, so the Nystroem
# residual of the first layer is large. That need not harm a classifier on the features.
# The maps that the deeper layers take patches of vary less.
#
# A map has too many channels to show them all. The upper row shows the norm of the map
# at every position. The lower row shows its directions: the map is divided by its
# norms, and its first three principal components are shown as red, green and blue.
# Places with similar content have similar colours.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, 4, figsize=(9, 3.6), layout="constrained")
axes[0, 0].imshow(image[0])
axes[0, 0].set_title("image", fontsize="medium")
axes[1, 0].imshow(np.clip(0.5 + whitened[0] / (6 * whitened.std()), 0, 1))
axes[1, 0].set_title("whitened", fontsize="medium")
for number, (column, layer_map) in enumerate(zip(axes.T[1:], maps, strict=True)):
    norms = np.linalg.norm(layer_map, axis=2, keepdims=True)
    directions = (layer_map / np.maximum(norms, 1e-12)).reshape(-1, layer_map.shape[2])
    components = PCA(3, random_state=0).fit_transform(directions)
    low, high = np.percentile(components, [2, 98], axis=0)
    colours = np.clip((components - low) / (high - low), 0, 1)
    column[0].imshow(norms[:, :, 0], cmap="gray")
    column[0].set_title(f"layer {number}: norm", fontsize="medium")
    column[1].imshow(colours.reshape(*layer_map.shape[:2], 3))
    column[1].set_title(f"layer {number}: direction", fontsize="medium")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()

# %%
# :class:`~sklearn_ckn.FeatureMapDisplay` shows single channels of the maps, one for
# each anchor:

display = FeatureMapDisplay.from_estimator(networks[1], whitened[0])
display.figure_.set_size_inches(9, 3.2)
plt.show()

# %%
# The anchors of the first layer are patches of the whitened image, because the seeds of
# k-means++ are patches. The anchors of the second layer are patches of maps, which
# cannot be shown as images. The display shows for each of them the part of the image
# that the closest patch covers.

figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
AnchorsDisplay.from_estimator(networks[0], ax=axes[0])
AnchorsDisplay.from_estimator(
    networks[1], layer=1, images=whitened, n_patches=1, ax=axes[1]
)
plt.show()
