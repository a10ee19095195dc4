"""
One image through the layers
============================

What a network makes of a photograph, layer by layer. A map has one number per position
and anchor: how much the patch there is like the anchor, mixed by the projection that
makes inner products approximate the kernel. Its norm at a position is, before pooling
and up to what the anchors miss, the norm of the patch.
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
# ``transform`` gives the last layer's map. A network with fewer layers and the same
# ``random_state`` learns the same first layers, so that three fits show all three maps.

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
# 32 anchors miss most of what whitened patches of 27 values hold: in so many dimensions
# they point in all directions, and few are near an anchor. That need not harm what is
# built on the features. The maps that deeper layers see vary less.
#
# A map has too many channels to look at. Above, its norm at every position. Below, its
# directions, that is the map with unit vectors at every position, on its first three
# principal components as red, green and blue: places with like content get like
# colours.

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
# Single channels of the maps, one for each anchor, by
# :class:`~sklearn_ckn.FeatureMapDisplay`:

display = FeatureMapDisplay.from_estimator(networks[1], whitened[0])
display.figure_.set_size_inches(9, 3.2)
plt.show()

# %%
# The first layer's anchors are patches of the whitened image, for k-means++ seeds are
# patches. Those of the second layer are patches of maps; what stands for them are the
# parts of the image that they see, those closest to each anchor.

figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
AnchorsDisplay.from_estimator(networks[0], ax=axes[0])
AnchorsDisplay.from_estimator(
    networks[1], layer=1, images=whitened, n_patches=1, ax=axes[1]
)
plt.show()
