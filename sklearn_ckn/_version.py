"""The version of the package, and nothing else: the build reads it."""

__version__ = "0.2.0"
