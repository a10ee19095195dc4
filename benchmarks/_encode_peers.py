"""The peers of the benchmarks of encoding: which there are, and their best ways."""

from functools import cache

import numpy as np
from _encode_engines import PyTorch
from _onnx_ckn import OnnxRuntime, OpenVino, OpenVinoStreams
from _workers import missing_modules

# Names, in the order of the tables.
PEERS = ("eager", "compiled", OnnxRuntime.name, OpenVino.name, OpenVinoStreams.name)

# Number of images whose maps are compared.
N_COMPARED = 16

# Largest relative difference of their maps; rounding in float32 gives some 1e-6.
TOLERANCE = 1e-4


def peer_names(options):
    """Return the names of the peers that the options do not leave out."""
    return [name for name in PEERS if not (name == "compiled" and options.no_compile)]


def installed_peers(network, n_threads, path, options):
    """Return the peers that can run here, by name.

    Parameters
    ----------
    network : object
        See ``_encode_engines.py``.
    n_threads : int
    path : str or None
        Of the file that ``exported`` writes; None without an exporter.
    options : Namespace
        ``separable``: whether PyTorch pools separably; ``no_compile``: whether to leave
        ``torch.compile`` out.
    """
    peers = [
        PyTorch(network, n_threads, compiled=compiled, separable=options.separable)
        for compiled in (False, True)
    ]
    peers += [
        kind(network, n_threads, path)
        for kind in (OnnxRuntime, OpenVino, OpenVinoStreams)
    ]
    peers = [peer for peer in peers if peer.name in peer_names(options)]
    for peer in peers:
        missing = missing_modules(peer)
        if missing:
            announce(f"{peer.name}: {', '.join(missing)} not installed")
    return {peer.name: peer for peer in peers if not missing_modules(peer)}


@cache
def announce(text):
    """Print a text once."""
    print(f"   {text}", flush=True)


def choose_ways(workers, sizes, repeats):
    """Let each worker choose its fastest way; compare the maps of all with the first's.

    Parameters
    ----------
    workers : dict of Worker
        Of encoders; the first is ours.
    sizes : dict of sequence
        Batch sizes that each may choose from, with the same keys.
    repeats : int

    Raises
    ------
    AssertionError
        A peer computes something else.
    """
    ours = None
    for key, worker in workers.items():
        announce(f"{worker.name}: {worker.description}")
        seconds, label = worker.call("choose", sizes[key], repeats)
        tried = [f"{way} {1000 * value:.4f}" for way, value in seconds.items()]
        maps = worker.call("maps", N_COMPARED)
        ours = maps if ours is None else ours
        # A batch may have fewer images than are compared.
        n_images = min(len(maps), len(ours))
        difference = relative_difference(maps[:n_images], ours[:n_images])
        print(
            f"   {worker.name}, {worker.n_threads} threads, ms/image by batch: "
            f"{', '.join(tried)}; best {label}; difference from ours {difference:.1e}",
            flush=True,
        )
        if not difference < TOLERANCE:
            raise AssertionError(f"{worker.name} computes something else")


def relative_difference(maps, reference):
    """Return the norm of the difference of maps, relative to the reference's norm."""
    # Without BLAS, whose threads would spin for a while.
    difference = np.square(maps - reference, dtype=np.float64).sum()
    return np.sqrt(difference / np.square(reference, dtype=np.float64).sum())


def ratio_texts(names, peers, ours):
    """Return the times of the peers over ours, and the best one's, for a table.

    Parameters
    ----------
    names : list of str
        Of the columns.
    peers : dict of float
        Seconds by name; those that are not installed are missing.
    ours : float
        Seconds.
    """
    texts = [
        f"{peers[name] / ours:{len(name)}.2f}"
        if name in peers
        else f"{'not installed':{len(name)}}"
        for name in names
    ]
    best = min(peers.values(), default=float("nan")) / ours
    return " | ".join([*texts, f"{best:4.2f}"])
