"""Engines: the numerical operations on images, for the CPU and for NVIDIA GPUs."""
