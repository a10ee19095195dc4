"""Functions that all parts share: arrays, devices, memory limits, threads, types."""
