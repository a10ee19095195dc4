"""A network: its layers, and the shapes and the cost that follow from them."""

from math import prod


def map_shapes(image_shape, layers):
    """Return the (H, W, C) shapes of the images and of every layer's output."""
    shapes = [tuple(image_shape)]
    for layer in layers:
        shapes.append(layer.settings.output_shape(shapes[-1]))
    return shapes


def multiply_adds(image_shape, layers):
    """Count the multiply-adds that one image costs, the kernel function as 16."""
    total = 0
    for shape, layer in zip(map_shapes(image_shape, layers), layers, strict=False):
        settings = layer.settings
        total += (
            prod(settings.response_shape(shape))
            * settings.n_anchors
            * (settings.patch_length(shape) + 16)
            + prod(settings.output_shape(shape)) * settings.n_anchors
        )
    return total
