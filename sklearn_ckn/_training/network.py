"""TrainedNetwork: a network during training, and the gradients of its parameters."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.kernels import InverseSquareRoot
from sklearn_ckn._network.layer import Layer, anchor_gradients, anchor_roots
from sklearn_ckn._network.network import Network


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in float64, with the matrix decompositions that its gradients need.

    Attributes
    ----------
    network : Network
        Its arrays are of the namespace that computes the training.
    roots : list of InverseSquareRoot
        Decompositions of the kernel matrices of the layers' anchors.
    """

    network: Network
    roots: list[InverseSquareRoot]

    @classmethod
    def from_network(cls, network, xp=np):
        """Convert a fitted network to float64 arrays of the namespace ``xp``."""
        anchors = [
            xp.asarray(layer.anchors.astype(np.float64)) for layer in network.layers
        ]
        return cls._from_parameters(network, network.settings, anchors)

    @classmethod
    def _from_parameters(cls, network, all_settings, all_anchors):
        """Decompose the kernel matrices and build a network with new parameters."""
        # One thread, so that the bits do not depend on the number of threads.
        with single_threaded_blas():
            roots = anchor_roots(all_settings, all_anchors)
            layers = tuple(
                Layer(settings, anchors, root.value())
                for settings, anchors, root in zip(
                    all_settings, all_anchors, roots, strict=True
                )
            )
        return cls(replace(network, layers=layers), roots)

    @property
    def anchors(self):
        """Anchors of each layer as rows of unit norm, (p, kh * kw * C), float64."""
        return [layer.anchors for layer in self.network.layers]

    @property
    def settings(self):
        """The LayerSettings of each layer, which include its beta."""
        return self.network.settings

    @property
    def betas(self):
        """``beta`` of each layer."""
        return [settings.beta for settings in self.settings]

    def moved(self, anchors, betas):
        """Return the network with new anchors and betas."""
        settings = [
            replace(each, beta=beta)
            for each, beta in zip(self.settings, betas, strict=True)
        ]
        return self._from_parameters(self.network, settings, anchors)

    def stored(self, dtype):
        """Return the Network with NumPy arrays, and with anchors of ``dtype``."""
        layers = [
            layer.with_anchors_as(dtype).to_namespace(np)
            for layer in self.network.layers
        ]
        return replace(self.network, layers=tuple(layers))

    def gradients(self, layer_gradients):
        """Back-propagate through the projections to the anchors and betas.

        Parameters
        ----------
        layer_gradients : list of LayerGradients

        Returns
        -------
        anchors : list of array of shape (p, kh * kw * C), float64
            Gradients in the anchors, not yet projected on the tangent space.
        log_betas : list of array of shape ()
            Gradients in the logarithms of the betas.
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
