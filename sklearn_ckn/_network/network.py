"""A network: its layers, and what follows from them for images of one shape."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod, sqrt

import numpy as np

from sklearn_ckn._common.norms import largest_number
from sklearn_ckn._network.layer import Layer

# Multiply-adds that one value of the kernel function counts for.
KERNEL_FUNCTION_COST = 16


# Compared by identity: a network is the key of what engines prepare for it.
@dataclass(frozen=True, eq=False)
class Network:
    """Layers for images of one shape; what a fit learns, and what is pickled.

    Attributes
    ----------
    layers : tuple of Layer
        May be empty: the network then maps images to themselves.
    image_shape : tuple of int
        (H, W, C) of the images.
    flip_average : bool, default=False
        Whether the features are the mean of those of an image and of its mirror image.
    """

    layers: tuple[Layer, ...]
    image_shape: tuple[int, int, int]
    flip_average: bool = False

    def __getstate__(self):
        # Without what is computed from the fields.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def shapes(self):
        """Shapes (H, W, C) of the images and of the output of every layer, a list."""
        shapes = [tuple(self.image_shape)]
        for layer in self.layers:
            shapes.append(layer.settings.output_shape(shapes[-1]))
        return shapes

    @cached_property
    def map_sizes(self):
        """Number of values of the images and of the output of every layer, a list."""
        return [prod(shape) for shape in self.shapes]

    @cached_property
    def norm_growth(self):
        """See the function ``norm_growth``."""
        return norm_growth(self.settings, self.image_shape)

    @property
    def output_shape(self):
        """Shape (H', W', p) of the maps that an image becomes."""
        return self.shapes[-1]

    @property
    def n_features(self):
        """Number of values of the maps of one image."""
        return self.map_sizes[-1]

    @property
    def settings(self):
        """The LayerSettings of every layer, a list."""
        return [layer.settings for layer in self.layers]

    @cached_property
    def multiply_adds(self):
        """Multiply-adds that one image costs, its mirror image included."""
        total = 0
        for shape, settings in zip(self.shapes, self.settings, strict=False):
            n_responses = prod(settings.response_shape(shape)) * settings.n_anchors
            total += n_responses * (settings.patch_length(shape) + KERNEL_FUNCTION_COST)
            total += prod(settings.output_shape(shape)) * settings.n_anchors
        return self.n_copies * total

    @property
    def n_copies(self):
        """How many images are mapped for each one: 2 with its mirror image, else 1."""
        return 1 + self.flip_average

    def first(self, n_layers):
        """Return the network of the first layers.

        Its maps are those of the images as they are, without their mirror images: the
        average over the two is taken after the last layer.
        """
        return Network(self.layers[:n_layers], self.image_shape)

    def followed_by(self, layer):
        """Return the network with one more layer."""
        return Network((*self.layers, layer), self.image_shape, self.flip_average)

    def receptive_field(self, axis):
        """Return where the patches of the last layer lie in the images.

        Parameters
        ----------
        axis : {0, 1}

        Returns
        -------
        start, step, length : int
            The patch at position i covers the pixels from ``start + i * step`` on, as
            many as ``length``; some of them may lie outside the image.
        """
        start, step, length = 0, 1, 1
        for position, settings in enumerate(self.settings):
            if position > 0:
                # A pixel of a map is a window of 2 s + 1 positions of the layer before.
                # Positions beyond the ends of their axis are none.
                before = self.settings[position - 1]
                subsampling = before.subsampling
                size = before.response_size(self.shapes[position - 1][axis])
                radius = min(subsampling, size - 1) if subsampling > 1 else 0
                start -= radius * step
                length += 2 * radius * step
                step *= subsampling
            size = self.shapes[position][axis]
            start -= settings.pad_axis(size)[0] * step
            length += (settings.patch_side(size) - 1) * step
        return start, step, length


def norm_growth(settings, image_shape):
    """Return how much longer than its largest pixel the features of an image can be.

    The norm of a patch is at most its largest pixel times the square root of its
    number of values, and no layer makes a patch longer.

    Parameters
    ----------
    settings : list of LayerSettings
        Of all layers.
    image_shape : tuple of int
        (H, W, C).
    """
    growth, shape = sqrt(image_shape[2]), image_shape
    for layer in settings:
        growth *= sqrt(prod(layer.patch_shape(shape)))
        shape = layer.output_shape(shape)
    return growth


def check_range(images, growth):
    """Raise if features of images may leave the range of their dtype.

    Parameters
    ----------
    images : Images
    growth : float
        See ``norm_growth``.

    Raises
    ------
    ValueError
        The pixels are too large.
    """
    # Twice as much, for rounding.
    if images.largest > largest_number(images.dtype) / (2 * growth):
        raise ValueError(
            f"X holds values as large as {images.largest:.3g}, of which features may "
            f"leave the range of {images.dtype}: divide X by a constant."
        )


def with_network(state):
    """Return the state of a pickled CKNFeatures, of version 0.1.0 too, with a Network.

    Parameters
    ----------
    state : dict
        In version 0.1.0 with a list of layers, whose patches are square along axes of
        length 1, too.

    Returns
    -------
    state : dict
    """
    if "_layers" not in state:
        return state
    state = dict(state)
    shape = state["image_shape_"]
    network = Network((), shape, state.get("flip_average", False))
    for layer in state.pop("_layers"):
        network = network.followed_by(_without_outer_zeros(layer, network.output_shape))
    # An attribute then, and a property of the network now.
    state.pop("output_shape_", None)
    return {**state, "_network": network}


def _without_outer_zeros(layer, map_shape):
    """Return a layer of square patches without what lies beside an axis of length 1.

    The patches are zero there, so that the layer's values stay the same.

    Parameters
    ----------
    layer : Layer
        With anchors of shape (p, k * k * C).
    map_shape : tuple of int
        (H, W, C) of its input.
    """
    side = layer.settings.patch_size
    # The one row or column of pixels had (k - 1) // 2 zeros before it.
    rows, columns = (
        [(side - 1) // 2] if size == 1 else range(side) for size in map_shape[:2]
    )
    anchors = layer.anchors.reshape(-1, side, side, map_shape[2])
    anchors = anchors[:, rows][:, :, columns].reshape(len(anchors), -1)
    return replace(layer, anchors=np.ascontiguousarray(anchors))
