"""What all parts of the package share: arrays, threads, memory, types."""
