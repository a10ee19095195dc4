"""Shared by all parts of the package: arrays, devices, memory, threads, types."""
