"""The names under which models pickled by version 0.1.0 refer to their layers."""

from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

__all__ = ["Layer", "LayerSettings"]
