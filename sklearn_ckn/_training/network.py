"""The parameters of a network in training, and their gradients."""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._network.layer import Layer, anchor_gradients, anchor_root


@dataclass(frozen=True)
class TrainedNetwork:
    """Layers in float64, with what their gradients need.

    Attributes
    ----------
    settings : list of LayerSettings
        Of each layer, its beta among them.
    anchors : list of array of shape (p, k * k * C), float64
        Unit rows, of the namespace that trains them.
    roots : list of InverseSquareRoot
        Of each layer's kernel matrix.
    """

    settings: list
    anchors: list
    roots: list

    @classmethod
    def from_parameters(cls, settings, anchors):
        """Build a network; the kernel matrices are decomposed."""
        # On one thread the result is the same to the bit on every machine size.
        with single_threaded_blas():
            roots = [
                anchor_root(each, rows)
                for each, rows in zip(settings, anchors, strict=True)
            ]
        return cls(list(settings), list(anchors), roots)

    @classmethod
    def from_layers(cls, layers, xp=np):
        """Start from fitted layers, with the namespace ``xp``."""
        return cls.from_parameters(
            [layer.settings for layer in layers],
            [xp.asarray(layer.anchors.astype(np.float64)) for layer in layers],
        )

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
        return self.from_parameters(settings, anchors)

    def stored_layers(self, dtype):
        """Return the layers as NumPy arrays, anchors of ``dtype``."""
        return [layer.to_namespace(np) for layer in self.layers(dtype)]

    def layers(self, dtype):
        """Return the layers with anchors of ``dtype``, ready to encode."""
        with single_threaded_blas():
            return [
                Layer(settings, anchors, root.value()).astype(dtype)
                for settings, anchors, root in zip(
                    self.settings, self.anchors, self.roots, strict=True
                )
            ]

    def gradients(self, layer_gradients):
        """Follow the projections back to anchors and betas.

        Parameters
        ----------
        layer_gradients : list of LayerGradients

        Returns
        -------
        anchors : list of array of shape (p, k * k * C), float64
            In the space around the sphere.
        log_betas : list of array of shape ()
            In the logarithms of the betas.
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
        anchors = [slopes for slopes, _ in pairs]
        log_betas = [
            settings.beta * slope
            for settings, (_, slope) in zip(self.settings, pairs, strict=True)
        ]
        return anchors, log_betas
