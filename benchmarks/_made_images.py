"""Images that are made up when they are read, as many as one likes."""

import numpy as np

#: Images that share a seed.
BLOCK = 500


class MadeImages:
    """Coloured textures of several classes, with the interface of an array in a file.

    Parameters
    ----------
    n : int
    side : int
        In pixels.
    n_classes : int
        Each class has its own mixture of three textures.
    """

    def __init__(self, n, side=32, n_classes=10):
        self.shape = n, side, side, 3
        self.dtype = np.dtype(np.uint8)
        self.ndim = len(self.shape)
        rng = np.random.RandomState(0)
        self._textures = rng.randint(0, 256, (n_classes, 4, side, side, 3), np.uint8)
        for axis in (2, 3):
            for _ in range(2):
                shifted = np.roll(self._textures, 1, axis).astype(np.uint16)
                self._textures = ((self._textures + shifted) // 2).astype(np.uint8)
        self.labels = np.arange(n) % n_classes

    def __getitem__(self, index):
        """Return images by a slice, the same at every call; Dask adds other slices."""
        rows = index[0] if isinstance(index, tuple) else index
        start, stop, _ = rows.indices(self.shape[0])
        blocks = [self._block(i) for i in range(start // BLOCK, -(-stop // BLOCK))]
        images = np.concatenate(blocks) if blocks else self._block(0)[:0]
        first = start // BLOCK * BLOCK
        return images[start - first : stop - first]

    def _block(self, number):
        rng = np.random.default_rng(number)
        labels = np.arange(number * BLOCK, (number + 1) * BLOCK) % len(self._textures)
        images = rng.integers(0, 256, (BLOCK, *self.shape[1:]), np.uint8) // 2
        mixed = rng.integers(0, 4, BLOCK)
        images += self._textures[labels, mixed] // 8
        return images
