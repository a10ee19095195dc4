"""The latency of a few images: our engine and ``transform``, and the peers.

The default network, with the random anchors of network a of ``encode.py``, maps one
image of 32 x 32 x 3, or a few: by the engine's operation on images and layers that are
ready; by ``CKNFeatures.transform``, which also validates the images, scales them and
finds the prepared layers; and by the peers of ``encode.py``, which keep what they have
compiled for this number of images: PyTorch, eager and compiled, at its best memory
format, ONNX Runtime, and OpenVINO for latency. Every one has a process of its own; they
are called in turn for some tenths of a second while the others sleep, with one thread
and with two, and without and with another process that keeps a core busy.

The table has the median of the microseconds of a call, and the 90th percentile. The
best peer's median is to be longer than ours everywhere, and that of ``transform`` on
one image at most 1.3 times that of the engine. Run with
``python benchmarks/latency.py``; it takes about five minutes.
"""

import argparse
from dataclasses import replace
from functools import partial

import numpy as np
from _encode_engines import Encoder, Ours
from _encode_networks import NETWORKS
from _encode_peers import choose_ways, installed_peers, peer_names
from _onnx_ckn import OpenVinoStreams, exported
from _timing import processor_name, repeat
from _workers import Way, alternate_workers, busy_cores, started

from sklearn_ckn import CKNFeatures

#: Time of ``transform`` on one image over that of the engine.
LIMIT = 1.3

OURS = ("engine", "transform")


class FittedNetwork:
    """An estimator with the layers of network a, whose anchors are random.

    Attributes
    ----------
    features : CKNFeatures
    """

    def __init__(self):
        self.features = CKNFeatures(n_patches=5000, random_state=0)
        self.features.fit(self.images(300))
        layers = tuple(NETWORKS["a"].layers())
        self.features._network = replace(self.features._network, layers=layers)

    def layers(self):
        """Return the layers."""
        return list(self.features._network.layers)

    def images(self, n_images):
        """Return the first images of network a."""
        return NETWORKS["a"].images(n_images)


class Transform(Encoder):
    """The method ``transform`` of the fitted network."""

    name = "transform"

    def describe(self):
        """Return what is called."""
        return "CKNFeatures.transform"

    def ways(self, batch_sizes):
        """Yield one way for each batch size."""
        features = self.network.features
        for batch_size in batch_sizes:
            images = self.network.images(batch_size)

            def encode(images=images):
                return features.transform(images)

            def maps(encode=encode):
                return encode().reshape(-1, *features.output_shape_)

            yield Way(f"{batch_size}", batch_size, partial(repeat, encode), maps)


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--no-compile", action="store_true", help="leave torch.compile out"
    )
    parser.add_argument(
        "--separable", action="store_true", help="give the peers a separable pooling"
    )
    return parser.parse_args()


def time_calls(workers, n_images, n_busy, repeats):
    """Return the median and the 90th percentile of a call, in microseconds, by name."""
    with busy_cores(n_busy):
        results = alternate_workers(workers, "call_seconds", repeats)
    return {
        name: 1e6 * np.quantile(np.concatenate(values), [0.5, 0.9])
        for name, values in results.items()
    }


def print_row(seconds, n_images, n_threads, n_busy, peers):
    """Print the times of calls, and their ratios."""
    texts = [
        f"{seconds[name][0]:.0f} ({seconds[name][1]:.0f})"
        if name in seconds
        else "not installed"
        for name in (*OURS, *peers)
    ]
    medians = {name: median for name, (median, _) in seconds.items()}
    best = min(
        (median for name, median in medians.items() if name not in OURS),
        default=float("nan"),
    )
    ratios = best / medians["engine"], best / medians["transform"]
    limit = f" (at most {LIMIT})" if n_images == 1 else ""
    print(
        f"{n_images:6} | {n_threads:7} | {n_busy:10} | {' | '.join(texts)} | "
        f"{ratios[0]:.2f} | {ratios[1]:.2f} | "
        f"{medians['transform'] / medians['engine']:.2f}{limit}",
        flush=True,
    )


def main():
    """Print the times and their ratios for every setting."""
    options = parse_arguments()
    peers = [name for name in peer_names(options) if name != OpenVinoStreams.name]
    print(f"{processor_name()}; microseconds of a call: median (90th percentile)")
    network = FittedNetwork()
    rows = []
    with exported(network, options.separable) as path:
        for n_threads in options.threads:
            installed = installed_peers(network, n_threads, path, options)
            engines = {
                "engine": Ours(network, n_threads),
                "transform": Transform(network, n_threads),
                **{name: peer for name, peer in installed.items() if name in peers},
            }
            with started(engines) as workers:
                for n_images in options.images:
                    choose_ways(workers, {key: [n_images] for key in engines}, 3)
                    for n_busy in options.busy:
                        times = time_calls(workers, n_images, n_busy, options.repeats)
                        rows.append((times, n_images, n_threads, n_busy))
    print(
        f"images | threads | busy cores | {' | '.join((*OURS, *peers))} | "
        "best peer / engine | best peer / transform | transform / engine"
    )
    for row in rows:
        print_row(*row, peers)


if __name__ == "__main__":
    main()
