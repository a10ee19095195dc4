"""The network: its settings, kernels and layers, and the sizes of its maps."""
