"""Encoding against its PyTorch peer and against matrix products."""

import time
from functools import partial

import numpy as np
import torch
from _encode_networks import NETWORKS, prepare
from _timing import LASTING, alternate_lasting
from _torch_ckn import torch_encoder

from sklearn_ckn._engine.cpu import CPUEngine

SQUARE = (2048, 2048, 2048)


def product_functions(shapes):
    """Return float32 matrix products by NumPy and PyTorch, into memory at hand.

    Parameters
    ----------
    shapes : list of (rows, length, columns)

    Returns
    -------
    functions : dict of (library, shape) to callable
        All of NumPy come first, then all of PyTorch: OpenBLAS's threads look for work
        for a while after a product and take time from what follows.
    """
    rng = np.random.RandomState(0)
    functions = {}
    for rows, length, columns in shapes:
        left = rng.uniform(size=(rows, length)).astype(np.float32)
        right = rng.uniform(size=(length, columns)).astype(np.float32)
        out = np.empty((rows, columns), np.float32)
        functions["NumPy", (rows, length, columns)] = partial(
            np.matmul, left, right, out=out
        )
    functions["pause", (0, 0, 0)] = partial(time.sleep, LASTING)
    for _, shape in list(functions)[:-1]:
        left, right, out = (
            torch.rand(shape[0], shape[1]),
            torch.rand(shape[1], shape[2]),
            torch.empty(shape[0], shape[2]),
        )
        functions["PyTorch", shape] = partial(torch.mm, left, right, out=out)
    return functions


def best_peer(network, layers, compiled, options):
    """Return the peer at its best batch size and memory format.

    Returns
    -------
    encode : callable
    batch_size : int
    memory_format : {"first", "last"}
        Where the channels are.
    """
    functions = {}
    for batch_size in network.batch_sizes:
        images = network.images(batch_size)
        for channels_last in (False, True):
            encode = torch_encoder(
                layers,
                images,
                channels_last=channels_last,
                compiled=compiled,
                separable=options.separable,
            )
            memory_format = "last" if channels_last else "first"
            functions[encode, batch_size, memory_format] = encode
    seconds = alternate_lasting(functions, min(3, options.repeats))
    each = {key: seconds[key] / key[1] for key in functions}
    tried = [f"{key[1]} {key[2]} {1000 * value:.3f}" for key, value in each.items()]
    kind = "compiled" if compiled else "eager"
    print(f"   {kind}, ms/image by batch: {', '.join(tried)}", flush=True)
    return min(each, key=each.get)


def map_difference(network, layers, engine, separable):
    """Return the relative difference of ours and the peer's maps of 8 images."""
    images = network.images(8)
    encode = torch_encoder(
        layers, images, channels_last=False, compiled=False, separable=separable
    )
    ours = engine.encode(images, prepare(engine, layers, images))
    theirs = encode().permute(0, 2, 3, 1).numpy()
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def describe_products(rates):
    """Print the rates of the matrix products, in GF/s."""
    for library in ("NumPy", "PyTorch"):
        texts = [
            f"{'x'.join(map(str, shape))} {rate / 1e9:.0f}"
            for (each, shape), rate in rates.items()
            if each == library
        ]
        print(f"   {library} sgemm, GF/s: {', '.join(texts)}")


def time_network(name, options):
    """Time ours, the peers and matrix products in turn; return a row of the table."""
    network, engine = NETWORKS[name], CPUEngine()
    layers, images = network.layers(), network.images()
    prepared = prepare(engine, layers, images)
    difference = map_difference(network, layers, engine, options.separable)
    print(f"{name}: relative difference of ours and the peer's maps {difference:.1e}")
    if difference > 1e-4:
        raise AssertionError("the peer computes something else")

    # What was compiled for another network counts against the limit of variants.
    torch.compiler.reset()
    kinds = ["eager"] + ["compiled"] * (not options.eager_only)
    peers = {
        kind: best_peer(network, layers, kind == "compiled", options) for kind in kinds
    }
    products = product_functions([SQUARE, *network.product_shapes()])
    functions = {
        **products,
        **{kind: encode for kind, (encode, *_) in peers.items()},
        "ours": lambda: engine.encode(images, prepared),
    }
    seconds = alternate_lasting(functions, options.repeats)
    ours = seconds["ours"] / len(images)
    rates = {
        key: 2 * np.prod(key[1]) / seconds[key] for key in products if key[0] != "pause"
    }
    describe_products(rates)
    row = {"name": name, "ours": ours, "rate": max(rates.values())}
    for kind, (_, batch_size, memory_format) in peers.items():
        each = seconds[kind] / batch_size
        row[kind] = each / ours
        print(
            f"   {kind}: best with {batch_size} images, channels {memory_format}: "
            f"{1000 * each:.4f} ms/image",
            flush=True,
        )
    return row


def main_table(options):
    """Print speeds, as ratios to the peers' and to the matrix product's rate."""
    pooling = "separable pooling" if options.separable else "as published"
    print(f"Ours against PyTorch ({pooling}) and sgemm")
    rows = [time_network(name, options) for name in options.networks]
    print(
        "network | ours ms/image | eager / ours | compiled / ours | "
        "Mflop, products | share % | Mflop, with projections | share %"
    )
    for row in rows:
        products, projections = NETWORKS[row["name"]].multiply_adds()
        counts = 2 * products, 2 * (products + projections)
        shares = [100 * count / row["ours"] / row["rate"] for count in counts]
        print(
            f"{row['name']:7} | {1000 * row['ours']:13.4f} | {row['eager']:12.2f} | "
            f"{row.get('compiled', float('nan')):15.2f} | {counts[0] / 1e6:15.1f} | "
            f"{shares[0]:7.1f} | {counts[1] / 1e6:23.1f} | {shares[1]:7.1f}"
        )
