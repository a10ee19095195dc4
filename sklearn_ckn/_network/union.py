"""NetworkUnion: networks side by side, whose features are joined."""

from dataclasses import dataclass, fields
from functools import cached_property
from math import prod

from sklearn_ckn._network.network import Network


# Compared by identity, as Network.
@dataclass(frozen=True, eq=False)
class NetworkUnion:
    """Networks for the same images; the features of an image are those of all of them.

    It has those properties of a Network that do not belong to a single one of them;
    each network whitens, mirrors and normalizes for itself.

    Attributes
    ----------
    networks : tuple of Network
        At least one.
    """

    networks: tuple[Network, ...]

    def __getstate__(self):
        # The fields only, without the cached properties.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def key(self):
        """All that features depend on besides the images and the engine."""
        return [network.key for network in self.networks]

    @property
    def image_shape(self):
        """(H, W, C) of the images."""
        return self.networks[0].image_shape

    @property
    def layers(self):
        """The layers of all networks, one network after the other."""
        return tuple(layer for network in self.networks for layer in network.layers)

    @property
    def settings(self):
        """List of the LayerSettings of ``layers``."""
        return [layer.settings for layer in self.layers]

    @property
    def ignores_units(self):
        """Whether an image that is multiplied by a constant has the same features."""
        return all(network.ignores_units for network in self.networks)

    @cached_property
    def n_features(self):
        """Number of features of one image."""
        return sum(network.n_features for network in self.networks)

    @property
    def output_shape(self):
        """(1, 1, n_features): the maps of the networks have no common shape."""
        return 1, 1, self.n_features

    @cached_property
    def map_sizes(self):
        """Numbers of values of an image and of its features."""
        return [prod(self.image_shape), self.n_features]

    @cached_property
    def norm_growth(self):
        """See the function ``norm_growth``."""
        return max(network.norm_growth for network in self.networks)

    @cached_property
    def multiply_adds(self):
        """Cost of one image in multiply-adds."""
        return sum(network.multiply_adds for network in self.networks)
