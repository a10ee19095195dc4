"""The hyper-parameters of one layer, and the map sizes that follow from them."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class LayerSettings:
    """The hyper-parameters of one layer and the map sizes that follow from them.

    Attributes
    ----------
    n_anchors : int or None
        None in the exact kernel, which has no anchors.
    patch_size : int
        Side k of the square patches, in pixels of the layer's input.
    subsampling : int
        Stride s of the pooling, in positions.
    kernel : {"exp", "poly", "arccos1"}
    beta : float
        Parameter of the kernel ``"exp"``.
    padding : {"same", "valid"}
    nystrom_reg : float or None
        Added to the eigenvalues of the anchors' kernel matrix; None without anchors.
    """

    n_anchors: int | None
    patch_size: int
    subsampling: int
    kernel: str
    beta: float
    padding: str
    nystrom_reg: float | None

    def pad_axis(self, size):
        """Return how many zeros stand before and after an axis of ``size`` pixels.

        ``"same"`` keeps the size, for even patches too. An axis shorter than the
        patch is padded to one patch under ``"valid"``.
        """
        if self.padding == "same":
            return (self.patch_size - 1) // 2, self.patch_size // 2
        missing = max(self.patch_size - size, 0)
        return missing // 2, missing - missing // 2

    def response_size(self, size):
        """Return the number of patch positions along an axis of ``size`` pixels."""
        return size + sum(self.pad_axis(size)) - self.patch_size + 1

    def response_shape(self, image_shape):
        """Return (height, width) of the map of positions of (H, W, C) images."""
        return self.response_size(image_shape[0]), self.response_size(image_shape[1])

    def output_shape(self, image_shape):
        """Return the (H', W', n_anchors) shape that (H, W, C) images come out in."""
        height, width = self.response_shape(image_shape)
        return (
            ceil(height / self.subsampling),
            ceil(width / self.subsampling),
            self.n_anchors,
        )

    def patch_length(self, image_shape):
        """Return the number of values of a patch of (H, W, C) images."""
        return self.patch_size**2 * image_shape[2]
