"""A CKN written in PyTorch, the peer of the benchmarks.

Maps are channels first, or channels last in PyTorch's sense. ``TorchLayer`` computes as
one would write it to train: with a separable pooling, norms from one channel of
squares, and the right gradient through the inverse square root. ``PublishedLayer``
computes the same maps with the operations of the published PyTorch code. Padding keeps
the size.
"""

from itertools import cycle

import numpy as np
import torch
from torch.nn import functional

from sklearn_ckn._network.pooling import pooling_taps


class InverseSquareRoot(torch.autograd.Function):
    """(K + eps I)^(-1/2) and its gradient by the Sylvester equation of its square."""

    @staticmethod
    def forward(context, matrix, regularization):
        """Decompose in float64."""
        values, vectors = torch.linalg.eigh(matrix.double())
        roots = torch.sqrt(values.clamp(min=0) + regularization)
        context.save_for_backward(vectors, roots)
        return ((vectors / roots) @ vectors.T).to(matrix.dtype)

    @staticmethod
    def backward(context, gradient):
        """Return the gradient with respect to the matrix."""
        vectors, roots = context.saved_tensors
        gradient = gradient.double()
        rotated = vectors.T @ ((gradient + gradient.T) / 2) @ vectors
        rotated /= (roots[:, None] + roots) * (roots[:, None] * roots)
        return (-vectors @ rotated @ vectors.T).float(), None


class TorchLayer(torch.nn.Module):
    """One layer, its projection computed from the anchors in every call.

    Parameters
    ----------
    settings : LayerSettings
    anchors : ndarray of shape (p, k * k * C)
        In (row, column, channel) order.
    """

    def __init__(self, settings, anchors):
        super().__init__()
        self.settings = settings
        k = settings.patch_size
        maps = anchors.reshape(len(anchors), k, k, -1).transpose(0, 3, 1, 2)
        maps = torch.tensor(np.ascontiguousarray(maps)).float()
        self.anchors = torch.nn.Parameter(maps)
        self.padding = settings.pad_axis(0)
        # All taps: a convolution pads the map with zeros for them.
        taps = pooling_taps(settings.subsampling, settings.subsampling + 1)
        taps = torch.tensor(taps).float()
        self.make_buffers(taps)

    def make_buffers(self, taps):
        """Store what the norms and the pooling are convolved with."""
        p, _, k, _ = self.anchors.shape
        self.register_buffer("ones", torch.ones(1, 1, k, k))
        self.register_buffer("down", taps.reshape(1, 1, -1, 1).repeat(p, 1, 1, 1))
        self.register_buffer("along", taps.reshape(1, 1, 1, -1).repeat(p, 1, 1, 1))

    def correlate(self, maps, filters):
        """Correlate padded maps with filters of the size of the patches."""
        before, after = self.padding
        if before != after:
            # Patches with even sides: one zero more after an axis than before it.
            maps = functional.pad(maps, (before, after, before, after))
            before = 0
        return functional.conv2d(maps, filters, padding=before)

    def squared_norms(self, maps):
        """Return the squared norms of the patches, in one channel."""
        return self.correlate((maps * maps).sum(1, keepdim=True), self.ones)

    def pool(self, responses):
        """Smooth and subsample: down the columns, then along the rows."""
        p, s = len(self.anchors), self.settings.subsampling
        responses = functional.conv2d(
            responses, self.down, stride=(s, 1), padding=(s, 0), groups=p
        )
        return functional.conv2d(
            responses, self.along, stride=(1, s), padding=(0, s), groups=p
        )

    def projection(self):
        """Return the inverse square root of the anchors' kernel matrix."""
        flat = self.anchors.permute(0, 2, 3, 1).flatten(1)
        cosines = flat @ flat.T
        if self.settings.kernel == "exp":
            gram = torch.exp(self.settings.beta * (cosines - 1))
        else:
            gram = cosines * cosines
        return InverseSquareRoot.apply(gram, self.settings.nystrom_reg)

    def forward(self, maps):
        """Map (n, C, H, W) to (n, p, H', W')."""
        products = self.correlate(maps, self.anchors)
        norms = self.squared_norms(maps).clamp(min=1e-30).sqrt()
        if self.settings.kernel == "exp":
            cosines = products / norms
            responses = norms * torch.exp(self.settings.beta * (cosines - 1))
        else:
            responses = products * products / norms
        if self.settings.subsampling > 1:
            responses = self.pool(responses)
        return functional.conv2d(responses, self.projection()[:, :, None, None])


class PublishedLayer(TorchLayer):
    """One layer to encode with, by the operations of the published PyTorch code.

    Norms by a convolution of all channels with ones, pooling by a two-dimensional
    depthwise convolution; the projection is computed once.
    """

    def make_buffers(self, taps):
        """Store what norms, pooling and projection are convolved with."""
        p, n_channels, k, _ = self.anchors.shape
        window = torch.outer(taps, taps)[None, None]
        self.register_buffer("ones", torch.ones(1, n_channels, k, k))
        self.register_buffer("window", window.repeat(p, 1, 1, 1))
        with torch.no_grad():
            self.register_buffer("stored_projection", super().projection())

    def squared_norms(self, maps):
        """Return the squared norms of the patches, in one channel."""
        return self.correlate(maps.pow(2), self.ones)

    def pool(self, responses):
        """Smooth and subsample in one step."""
        p, s = len(self.anchors), self.settings.subsampling
        return functional.conv2d(responses, self.window, stride=s, padding=s, groups=p)

    def projection(self):
        """Return the stored projection."""
        return self.stored_projection


class PublishedSeparableLayer(PublishedLayer):
    """The published layer with the pooling of ``TorchLayer``, which costs less."""

    def make_buffers(self, taps):
        """Add the taps of both directions."""
        super().make_buffers(taps)
        p = len(self.anchors)
        self.register_buffer("down", taps.reshape(1, 1, -1, 1).repeat(p, 1, 1, 1))
        self.register_buffer("along", taps.reshape(1, 1, 1, -1).repeat(p, 1, 1, 1))

    pool = TorchLayer.pool


def torch_network(layers, *, channels_last, separable=False, device="cpu"):
    """Return a network that maps (n, C, H, W) images as the published code does.

    Parameters
    ----------
    layers : list of Layer
        Of NumPy arrays.
    channels_last : bool
        The memory format.
    separable : bool, default=False
        Whether to pool separably, unlike the published code.
    device : str, default="cpu"
        Where the network is, and computes its projections.

    Returns
    -------
    network : torch.nn.Sequential
    """
    layer_class = PublishedSeparableLayer if separable else PublishedLayer
    with torch.device(device):
        network = torch.nn.Sequential(
            *(layer_class(layer.settings, layer.anchors) for layer in layers)
        ).eval()
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return network.to(memory_format=memory_format).requires_grad_(False)


def torch_maps(images, *, channels_last, device="cpu"):
    """Return (n, H, W, C) images as a tensor (n, C, H, W) of a device.

    Nothing is copied but from device to device, and if ``channels_last`` is not set.
    """
    maps = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return maps.contiguous(memory_format=memory_format)


def torch_encoder(
    layers, images, *, channels_last, compiled, separable=False, device="cpu", copies=1
):
    """Return a function that maps images as the published code does.

    Parameters
    ----------
    layers : list of Layer
    images : ndarray of shape (n, H, W, C), float32
        Brought into PyTorch's order before, which is no part of the function.
    channels_last : bool
        The memory format.
    compiled : bool
        Whether by ``torch.compile``, for this one shape.
    separable : bool, default=False
        Whether to pool separably, unlike the published code.
    device : str, default="cpu"
        Where the images are and are mapped.
    copies : int, default=1
        Number of copies of the images; each call takes the next one.

    Returns
    -------
    encode : callable
        Returns a tensor of shape (n, p, H', W').
    """
    network = torch_network(
        layers, channels_last=channels_last, separable=separable, device=device
    )
    encode_maps = inference(network, compiled)
    batches = cycle(
        [
            torch_maps(images, channels_last=channels_last, device=device)
            for _ in range(copies)
        ]
    )
    return lambda: encode_maps(next(batches))


def inference(network, compiled):
    """Return a function that maps a batch by a network, without gradients."""
    function = torch.compile(network, dynamic=False) if compiled else network

    def encode_maps(maps):
        with torch.inference_mode():
            return function(maps)

    return encode_maps
