"""Engines: the operations that touch every pixel, for the CPU and for GPUs."""
