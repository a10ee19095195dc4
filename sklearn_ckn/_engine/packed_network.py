"""A network packed for the CPU kernels: as a whole, and layer by layer for training."""

from functools import cached_property

from sklearn_ckn._common.threads import shared_threads
from sklearn_ckn._engine.packing import pack_layer
from sklearn_ckn._ext import _cpu

# Anchors of a layer, in values, that several threads pack together: with fewer of
# them, starting the threads takes longer than the work.
MIN_SHARED_VALUES = 2**18


class PackedNetwork:
    """The layers of a network as the kernels in C take them.

    Parameters
    ----------
    network : Network
    dtype : dtype
    instruction_set : str
    """

    def __init__(self, network, dtype, instruction_set):
        self.layers = [layer.with_anchors_as(dtype) for layer in network.layers]
        self.shapes = network.shapes
        self.dtype = dtype
        self.work_per_image = network.multiply_adds // network.n_copies
        self._instruction_set = instruction_set
        self._with_gradients = {}

    @cached_property
    def whole(self):
        """All layers, for the forward pass without gradients."""
        packed = [
            self._pack(layer, shape)
            for layer, shape in zip(self.layers, self.shapes, strict=False)
        ]
        return _cpu.PackedLayers(packed, self.dtype, self._instruction_set)

    def single(self, position, gradients):
        """Return one layer, for the forward and the backward pass.

        Parameters
        ----------
        position : int
        gradients : {"parameters", "all"}
            Those wanted: with respect to the layer's parameters, or to its input, too.
        """
        key = position, gradients
        if key not in self._with_gradients:
            packed = self._pack(
                self.layers[position], self.shapes[position], gradients=gradients
            )
            self._with_gradients[key] = _cpu.PackedLayers(
                [packed], self.dtype, self._instruction_set
            )
        return self._with_gradients[key]

    def _pack(self, layer, shape, gradients=None):
        with shared_threads() as n_workers:
            if layer.anchors.size < MIN_SHARED_VALUES:
                n_workers = 1
            return pack_layer(
                layer, shape, self._instruction_set, n_workers, gradients=gradients
            )
