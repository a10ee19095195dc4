"""A network packed for the CPU kernels: all layers for encoding, each for training."""

from functools import cached_property

from sklearn_ckn._common.threads import shared_threads, workers_for
from sklearn_ckn._engine.packing import pack_layer
from sklearn_ckn._ext import _cpu


class PackedNetwork:
    """The layers of a network in the form that the C kernels take.

    Layers are packed when they are first needed.

    Parameters
    ----------
    network : Network
    dtype : dtype
        float32 or float64; the network is computed in this dtype.
    instruction_set : str
        Name of the instruction set of the kernels.
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
        """All layers, packed for the forward pass without gradients."""
        packed = [
            self._pack(layer, shape)
            for layer, shape in zip(self.layers, self.shapes, strict=False)
        ]
        return _cpu.PackedLayers(packed, self.dtype, self._instruction_set)

    def single(self, position, gradients=None):
        """Return one layer, packed for the forward or the backward pass.

        Parameters
        ----------
        position : int
            Index of the layer.
        gradients : {"parameters", "all"} or None, default=None
            Which gradients are needed: with respect to the layer's parameters only, or
            also with respect to its input. None stands for the forward pass.
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
            n_workers = workers_for(layer.anchors.size, n_workers)
            return pack_layer(
                layer, shape, self._instruction_set, n_workers, gradients=gradients
            )
