"""A network: its layers, and the sizes and costs for images of one shape."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod, sqrt

import numpy as np

from sklearn_ckn._common.norms import largest_number
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.whitening import Whitening

# Cost of one evaluation of the kernel function, in multiply-adds.
KERNEL_FUNCTION_COST = 16


# Compared by identity (eq=False), because networks are keys of the cache of prepared
# networks.
@dataclass(frozen=True, eq=False)
class Network:
    """Layers for images of one shape: the result of learning, which is pickled.

    Attributes
    ----------
    layers : tuple of Layer
        If it is empty, the network maps images to themselves.
    image_shape : tuple of int
        (H, W, C) of the images.
    flip_average : bool, default=False
        Whether the features of an image are averaged with those of its mirror image.
    whitening : Whitening or None, default=None
        Applied to the images before the first layer. The mirror image is that of the
        whitened image.
    normalize : float, default=0.0
        Power of their norm by which the features of an image are divided, after all
        else but the scale.
    differences : bool, default=False
        Whether the images, signals of one row or column, are replaced by the
        differences of neighbouring pixels, see ``first_differences``.
    scale : float, default=1.0
        Factor of the features.
    center_images : bool, default=False
        Whether the mean of each channel over an image is taken off the image after the
        whitening, so that a first layer with ``center_patches`` pads it by its mean.
    """

    layers: tuple[Layer, ...]
    image_shape: tuple[int, int, int]
    flip_average: bool = False
    whitening: Whitening | None = None
    normalize: float = 0.0
    differences: bool = False
    scale: float = 1.0
    center_images: bool = False

    def __getstate__(self):
        # The fields only, without the cached properties.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def key(self):
        """All that features depend on besides the images and the engine."""
        return [
            getattr(self, field.name)
            for field in fields(self)
            if field.name != "image_shape"
        ]

    @cached_property
    def shapes(self):
        """List of the shapes (H, W, C) of the images and of each layer's output."""
        shapes = [tuple(self.image_shape)]
        for layer in self.layers:
            shapes.append(layer.settings.output_shape(shapes[-1]))
        return shapes

    @cached_property
    def map_sizes(self):
        """List of the numbers of values of an image and of each layer's output."""
        return [prod(shape) for shape in self.shapes]

    @cached_property
    def norm_growth(self):
        """See the function ``norm_growth``."""
        growth = norm_growth(
            self.settings, self.image_shape, self.whitening, self.differences
        )
        return growth * max(self.scale, 1)

    @property
    def ignores_units(self):
        """Whether an image that is multiplied by a constant has the same features."""
        return self.normalize == 1 or self.degree == 0

    @property
    def output_shape(self):
        """Shape (H', W', p) of the output of the last layer."""
        return self.shapes[-1]

    @property
    def n_features(self):
        """Number of features of one image."""
        return self.map_sizes[-1]

    @property
    def settings(self):
        """List of the LayerSettings of the layers."""
        return [layer.settings for layer in self.layers]

    @cached_property
    def degree(self):
        """Degree of homogeneity of the maps in the images, before ``normalize``.

        0 if a layer gives the same for a patch of any norm, else 1.
        """
        return int(all(settings.keep_norm for settings in self.settings))

    @cached_property
    def multiply_adds(self):
        """Cost of one image in multiply-adds, including that of its mirror image."""
        total = 0
        for shape, settings in zip(self.shapes, self.settings, strict=False):
            n_responses = prod(settings.response_shape(shape)) * settings.n_anchors
            total += n_responses * (settings.patch_length(shape) + KERNEL_FUNCTION_COST)
            total += prod(settings.output_shape(shape)) * settings.n_anchors
        return self.n_copies * total

    @property
    def n_copies(self):
        """Number of maps computed for an image: 2 with its mirror image, else 1."""
        return 1 + self.flip_average

    def first(self, n_layers):
        """Return the network of the first ``n_layers`` layers.

        It does not use mirror images, normalize or scale: these come only after the
        last layer.
        """
        return replace(
            self,
            layers=self.layers[:n_layers],
            flip_average=False,
            normalize=0.0,
            scale=1.0,
        )

    def followed_by(self, layer):
        """Return the network with ``layer`` after its last layer."""
        return replace(self, layers=(*self.layers, layer))

    def receptive_field(self, axis):
        """Return the pixels of the image that the patches of the last layer cover.

        Parameters
        ----------
        axis : {0, 1}
            Height or width.

        Returns
        -------
        start, step, length : int
            The patch at position i covers ``length`` pixels along the axis, the first
            one at ``start + i * step``. Some of them may lie outside the image.
        """
        start, step, length = 0, 1, 1
        for position, settings in enumerate(self.settings):
            if position > 0:
                # A pixel of a map is pooled from a window of 2 s + 1 positions of the
                # previous layer, cut off at the ends of the axis, or from all of them.
                before = self.settings[position - 1]
                subsampling = before.subsampling
                size = before.response_size(self.shapes[position - 1][axis])
                if subsampling == "global":
                    length += (size - 1) * step
                else:
                    radius = min(subsampling, size - 1) if subsampling > 1 else 0
                    start -= radius * step
                    length += 2 * radius * step
                    step *= subsampling
            size = self.shapes[position][axis]
            start -= settings.pad_axis(size)[0] * step
            length += (settings.patch_span(size) - 1) * step
        return start, step, length


def norm_growth(settings, image_shape, whitening=None, differences=False):
    """Return a bound on the features of images whose largest absolute value is 1.

    The norm of a patch is at most the largest norm of its pixels times the square root
    of their number. The output of a layer for a patch is no longer than the patch.
    Features of degree 0 do not grow with the images; only the whitened and centred
    images do, and their bound is returned.

    Parameters
    ----------
    settings : list of LayerSettings
        Settings of all layers.
    image_shape : tuple of int
        (H, W, C).
    whitening : Whitening or None, default=None
    differences : bool, default=False

    Returns
    -------
    growth : float
    """
    growth, shape = sqrt(image_shape[2]), image_shape
    if differences:
        growth *= 2
    if whitening is not None:
        growth *= whitening.growth
    if settings and settings[0].center_patches:
        # A difference of two values.
        growth *= 2
    if not all(layer.keep_norm for layer in settings):
        return growth
    for layer in settings:
        growth *= sqrt(prod(layer.patch_shape(shape)))
        shape = layer.output_shape(shape)
    return growth


def check_range(images, growth):
    """Raise an error if the features of images may overflow their dtype.

    Parameters
    ----------
    images : Images
    growth : float
        See ``norm_growth``.

    Raises
    ------
    ValueError
        Values of the images are too large.
    """
    # The factor 2 leaves room for rounding.
    if images.largest > largest_number(images.dtype) / (2 * growth):
        raise ValueError(
            f"X holds values as large as {images.largest:.3g}, and features may leave "
            f"the range of {images.dtype}: divide X by a constant."
        )


def with_network(state):
    """Convert the state of a CKNFeatures pickled by version 0.1.0 to the present form.

    Parameters
    ----------
    state : dict
        Attributes of the estimator. Version 0.1.0 stored a list of layers, and its
        patches were square also where an axis of the images has length 1.

    Returns
    -------
    state : dict
        With a Network in place of the list of layers. A state that has one already is
        returned unchanged.
    """
    if "_layers" not in state:
        return state
    state = dict(state)
    shape = state["image_shape_"]
    network = Network((), shape, state.get("flip_average", False))
    for layer in state.pop("_layers"):
        network = network.followed_by(_without_outer_zeros(layer, network.output_shape))
    # It was an attribute; now it is a property of the network.
    state.pop("output_shape_", None)
    return {**state, "_network": network}


def _without_outer_zeros(layer, map_shape):
    """Remove the parts of square patches that lie outside an axis of length 1.

    Patches are zero there, so the output of the layer stays the same.

    Parameters
    ----------
    layer : Layer
        Its anchors have the shape (p, k * k * C).
    map_shape : tuple of int
        (H, W, C) of its input.

    Returns
    -------
    layer : Layer
        Its anchors have the shape (p, kh * kw * C).
    """
    side = layer.settings.patch_size
    # The only row or column of pixels had (k - 1) // 2 rows or columns of zeros before
    # it.
    rows, columns = (
        [(side - 1) // 2] if size == 1 else range(side) for size in map_shape[:2]
    )
    anchors = layer.anchors.reshape(-1, side, side, map_shape[2])
    anchors = anchors[:, rows][:, :, columns].reshape(len(anchors), -1)
    return replace(layer, anchors=np.ascontiguousarray(anchors))
