"""Layers on engines, for tests of the engines' operations."""

import numpy as np

from sklearn_ckn._network.network import Network


def network_of(layers, images):
    """Return the network of some layers for images of the shape of the given ones."""
    return Network(tuple(layers), images.shape[1:])


def prepare(engine, layers, images):
    """Return layers as an engine prepares them for images of this shape and dtype."""
    return engine.prepare(network_of(layers, images), images.dtype)


def encode(engine, images, layers):
    """Map images through layers by the engine's operation."""
    return engine.encode(images, prepare(engine, layers, images))


def backward(engine, images, layers, gradient, *, to_images=False):
    """Return the layers' gradients of a function of the maps, and the images' one."""
    prepared = prepare(engine, layers, images)
    _, tape = engine.encode_with_tape(images, prepared)
    return engine.encode_backward(tape, prepared, gradient, to_images=to_images)


def bind(engine, layers, images, dtype=np.float64):
    """Return the encoder of layers for images of this shape."""
    return engine.bind(network_of(layers, images), dtype)
