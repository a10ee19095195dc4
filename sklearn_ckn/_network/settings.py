"""Hyper-parameters of one layer, and the sizes of its maps that follow from them."""

from dataclasses import dataclass
from math import ceil, prod


@dataclass(frozen=True)
class LayerSettings:
    """Hyper-parameters of one layer, with methods for the sizes of its maps.

    Attributes
    ----------
    n_anchors : int or None
        None for a layer of the exact kernel, which has no anchors.
    patch_size : int
        Side k of the patches, in pixels; see ``patch_side``.
    subsampling : int or "global"
        Stride s of the Gaussian pooling, in positions of patches, or the mean over all
        positions.
    kernel : {"exp", "poly", "arccos1"}
    beta : float
        Parameter of the kernel ``"exp"``.
    padding : {"same", "valid"}
    nystrom_reg : float or None
        Number added to the eigenvalues of the anchors' kernel matrix; None for a layer
        of the exact kernel.
    dilation : int, default=1
        Pixels of the layer's input from one pixel of a patch to the next; see
        ``patch_span``. Layers that were pickled without it have the default, as for
        what follows.
    center_patches : bool, default=False
        Whether the mean of each channel over its pixels is taken off every patch. The
        anchors have no means then.
    keep_norm : bool, default=True
        Whether the responses of a patch are multiplied by its norm.
    """

    n_anchors: int | None
    patch_size: int
    subsampling: int | str
    kernel: str
    beta: float
    padding: str
    nystrom_reg: float | None
    dilation: int = 1
    center_patches: bool = False
    keep_norm: bool = True

    @property
    def responds_by_norm(self):
        """Whether responses are multiplied by the norm of the patch as it is.

        Only then the engines have gradients, and the CPU's tiles of Winograd's
        algorithm.
        """
        return self.keep_norm and not self.center_patches

    def patch_side(self, size):
        """Return the side of patches along an axis of ``size`` pixels.

        It is 1 along an axis of length 1: the other pixels of a longer side would
        always be zero.
        """
        return 1 if size == 1 else self.patch_size

    def patch_shape(self, image_shape):
        """Return (height, width) of the patches of (H, W, C) images."""
        return self.patch_side(image_shape[0]), self.patch_side(image_shape[1])

    def patch_span(self, size):
        """Return how many of the ``size`` pixels of an axis patches extend over.

        They take every ``dilation``-th of them, from the first to the last.
        """
        return (self.patch_side(size) - 1) * self.dilation + 1

    def pad_axis(self, size):
        """Return the numbers of zeros before and after an axis of ``size`` pixels.

        With ``"same"`` there are as many positions as pixels, also for patches with an
        even span. With ``"valid"``, an axis that is shorter than the span of patches is
        padded to it.
        """
        span = self.patch_span(size)
        if self.padding == "same":
            return (span - 1) // 2, span // 2
        missing = max(span - size, 0)
        return missing // 2, missing - missing // 2

    def response_size(self, size):
        """Return the number of patch positions along an axis of ``size`` pixels."""
        return size + sum(self.pad_axis(size)) - self.patch_span(size) + 1

    def response_shape(self, image_shape):
        """Return (height, width) of the map of responses of (H, W, C) images."""
        return self.response_size(image_shape[0]), self.response_size(image_shape[1])

    def pooled_size(self, n_positions):
        """Return the size of the output along an axis of ``n_positions`` positions."""
        if self.subsampling == "global":
            return 1
        return ceil(n_positions / self.subsampling)

    def output_shape(self, image_shape):
        """Return the shape (H', W', n_anchors) of the output for (H, W, C) images."""
        return (
            *map(self.pooled_size, self.response_shape(image_shape)),
            self.n_anchors,
        )

    def patch_length(self, image_shape):
        """Return the number of values of a patch of (H, W, C) images."""
        return prod(self.patch_shape(image_shape)) * image_shape[2]

    def span_length(self, image_shape):
        """Return the number of values of (H, W, C) images that a patch extends over."""
        return prod(map(self.patch_span, image_shape[:2])) * image_shape[2]
