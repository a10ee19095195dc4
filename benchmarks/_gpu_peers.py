"""The PyTorch peer on the GPU, at its best batch size, memory format and pooling."""

from copy import deepcopy
from dataclasses import dataclass
from itertools import cycle, product
from operator import itemgetter

import numpy as np
import torch
from _timing import alternate_lasting
from _torch_ckn import inference, torch_maps, torch_network


@dataclass(frozen=True)
class Peer:
    """A way to encode with PyTorch.

    Attributes
    ----------
    encode : callable
        Maps a batch that is on the GPU.
    function : callable
        The network, compiled or not, with its setting of TF32.
    device : str
        Of PyTorch.
    batch_size : int
    channels_last, separable : bool
        The memory format, and whether the pooling is, unlike the published code's.
    """

    encode: object
    function: object
    device: str
    batch_size: int
    channels_last: bool
    separable: bool

    def maps(self, images):
        """Map images (n, H, W, C) of NumPy, batch by batch, to (n, H', W', p)."""
        parts = []
        for start in range(0, len(images), self.batch_size):
            part = torch_maps(
                images[start : start + self.batch_size],
                channels_last=self.channels_last,
                device=self.device,
            )
            parts.append(self.function(part).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(parts)

    @property
    def text(self):
        """What distinguishes it."""
        memory_format = "last" if self.channels_last else "first"
        pooling = "separable" if self.separable else "published"
        return f"{self.batch_size} images, channels {memory_format}, {pooling} pooling"


def make_peer(machine, network, images, *, compiled, is_tf32, **kind):
    """Return a Peer for batches of the size of the images.

    Parameters
    ----------
    machine : Machine
    network : torch.nn.Sequential
    images : ndarray of shape (batch size, H, W, C)
    compiled, is_tf32 : bool
    **kind
        ``channels_last`` and ``separable``.
    """
    function = machine.with_tf32(is_tf32, inference(network, compiled))
    batches = cycle(
        [
            torch_maps(
                images, channels_last=kind["channels_last"], device=machine.device
            )
            for _ in range(machine.n_copies(images.nbytes))
        ]
    )
    return Peer(
        lambda: function(next(batches)),
        function,
        machine.device,
        batch_size=len(images),
        **kind,
    )


class Search:
    """The peer's variants of one network.

    Parameters
    ----------
    machine : Machine
    network : Network
    layers : list of Layer
    repeats : int
    """

    def __init__(self, machine, network, layers, repeats):
        self.machine, self.network, self.repeats = machine, network, repeats
        # Once for each pooling: decomposing the kernel matrix of many anchors takes
        # longer than all the rest.
        self._networks = {
            separable: torch_network(
                layers, channels_last=False, separable=separable, device=machine.device
            )
            for separable in (False, True)
        }

    def best(self, *, poolings, batch_sizes, compiled, is_tf32):
        """Return the Peer of the least time per image among all memory formats."""
        best, tried = (np.inf, None), []
        for separable, channels_last in product(poolings, (False, True)):
            # What was compiled before counts against the limit of variants.
            torch.compiler.reset()
            network = deepcopy(self._networks[separable])
            if channels_last:
                network = network.to(memory_format=torch.channels_last)
            for batch_size in batch_sizes:
                self.machine.clear()
                try:
                    peer, each = self._time(
                        network,
                        batch_size,
                        compiled=compiled,
                        is_tf32=is_tf32,
                        channels_last=channels_last,
                        separable=separable,
                    )
                except torch.OutOfMemoryError:
                    continue
                tried.append(f"{1e6 * each:.2f} {peer.text}")
                best = min(best, (each, peer), key=itemgetter(0))
        kind = f"{'compiled' if compiled else 'eager'}{', TF32' * is_tf32}"
        print(f"   {kind}, us/image: {'; '.join(tried)}", flush=True)
        if best[1] is None:
            raise MemoryError("the peer's smallest batch does not fit")
        return best[1]

    def _time(self, network, batch_size, **kind):
        """Return a Peer and its seconds per image, by itself."""
        images = self.network.images(batch_size)
        peer = make_peer(self.machine, network, images, **kind)
        # Compiles, or lets cuDNN choose its algorithms.
        peer.encode()
        seconds = alternate_lasting(
            {"peer": peer.encode}, self.repeats, self.machine.synchronize
        )
        return peer, seconds["peer"] / batch_size


def best_peers(machine, network, layers, options):
    """Return the best Peer of each kind, to be timed in turn with ours.

    Eager in float32 tries all poolings, memory formats and batch sizes; the compiler
    changes no convolution, so that it gets the pooling of the best of these, and TF32,
    which prefers channels last, the batch size as well.
    """
    search = Search(machine, network, layers, min(3, options.repeats))
    kinds = {"eager": False}
    if not options.no_compile:
        kinds["compiled"] = True
    peers, poolings = {}, (False, True)
    for name, compiled in kinds.items():
        best = search.best(
            poolings=poolings,
            batch_sizes=network.batch_sizes,
            compiled=compiled,
            is_tf32=False,
        )
        poolings = (best.separable,)
        peers[name] = best
        peers[f"{name}, TF32"] = search.best(
            poolings=poolings,
            batch_sizes=(best.batch_size,),
            compiled=compiled,
            is_tf32=True,
        )
    torch.compiler.reset()
    machine.clear()
    return peers
