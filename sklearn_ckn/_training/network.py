"""A network in training: its parameters, and their gradients."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.kernels import InverseSquareRoot
from sklearn_ckn._network.layer import Layer, anchor_gradients, anchor_root
from sklearn_ckn._network.network import Network


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in float64, with what the gradients of its projections need.

    Attributes
    ----------
    network : Network
        Its arrays are of the namespace that trains them.
    roots : list of InverseSquareRoot
        Of each layer's kernel matrix.
    """

    network: Network
    roots: list[InverseSquareRoot]

    @classmethod
    def from_network(cls, network, xp=np):
        """Start from a fitted network, with the namespace ``xp``."""
        anchors = [
            xp.asarray(layer.anchors.astype(np.float64)) for layer in network.layers
        ]
        return cls._from_parameters(network, network.settings, anchors)

    @classmethod
    def _from_parameters(cls, network, all_settings, all_anchors):
        """Build a network like another; the kernel matrices are decomposed."""
        layers, roots = [], []
        # On one thread the result is the same to the bit on every machine size.
        with single_threaded_blas():
            for settings, anchors in zip(all_settings, all_anchors, strict=True):
                root = anchor_root(settings, anchors)
                roots.append(root)
                layers.append(Layer(settings, anchors, root.value()))
        return cls(replace(network, layers=tuple(layers)), roots)

    @property
    def anchors(self):
        """Unit anchors of every layer, (p, patch length), float64."""
        return [layer.anchors for layer in self.network.layers]

    @property
    def settings(self):
        """The LayerSettings of every layer, its beta among them."""
        return self.network.settings

    @property
    def betas(self):
        """Kernel parameter of every layer."""
        return [settings.beta for settings in self.settings]

    def moved(self, anchors, betas):
        """Return the network with other anchors and betas."""
        settings = [
            replace(each, beta=beta)
            for each, beta in zip(self.settings, betas, strict=True)
        ]
        return self._from_parameters(self.network, settings, anchors)

    def stored(self, dtype):
        """Return the network with NumPy arrays and anchors of ``dtype``."""
        layers = [
            layer.with_anchors_as(dtype).to_namespace(np)
            for layer in self.network.layers
        ]
        return replace(self.network, layers=tuple(layers))

    def gradients(self, layer_gradients):
        """Follow the projections back to anchors and betas.

        Parameters
        ----------
        layer_gradients : list of LayerGradients

        Returns
        -------
        anchors : list of array of shape (p, patch length), float64
            In the space around the sphere.
        log_betas : list of array of shape ()
            With respect to the logarithms of the betas.
        """
        with single_threaded_blas():
            pairs = [
                anchor_gradients(*parts)
                for parts in zip(
                    self.settings,
                    self.anchors,
                    self.roots,
                    layer_gradients,
                    strict=True,
                )
            ]
        anchors = [gradient for gradient, _ in pairs]
        log_betas = [
            settings.beta * gradient
            for settings, (_, gradient) in zip(self.settings, pairs, strict=True)
        ]
        return anchors, log_betas
