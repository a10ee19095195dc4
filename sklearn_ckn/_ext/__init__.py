"""The compiled CPU kernels; their sources are in the top-level folder ``_ext``."""
