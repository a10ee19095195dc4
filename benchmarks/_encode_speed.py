"""Encoding against its peers, and against matrix products."""

from _encode_engines import NumPyProducts, Ours, PyTorchProducts
from _encode_networks import NETWORKS
from _encode_peers import (
    announce,
    choose_ways,
    installed_peers,
    peer_names,
    ratio_texts,
)
from _onnx_ckn import exported
from _workers import busy_cores, median_seconds, missing_modules, started

SQUARE = (2048, 2048, 2048)

# How many times as fast as the best peer ours is to be.
GOALS = {"a": 2.5, "b": 2.0, "c": 1.8}


def installed_products(n_threads):
    """Return the engines of matrix products that can run here, by name."""
    products = [kind(n_threads) for kind in (NumPyProducts, PyTorchProducts)]
    return {each.name: each for each in products if not missing_modules(each)}


def choose_shapes(workers, shapes, repeats):
    """Let each worker of matrix products choose its fastest shape."""
    for worker in workers.values():
        announce(f"{worker.name}: {worker.description}")
        seconds, label = worker.call("choose", shapes, repeats)
        tried = [f"{shape} {1e-9 / value:.0f}" for shape, value in seconds.items()]
        print(
            f"   {worker.name}, {worker.n_threads} threads, GF/s: {', '.join(tried)}; "
            f"best {label}",
            flush=True,
        )


def time_network(name, n_threads, path, options):
    """Time ours, the peers and matrix products in turn.

    Returns
    -------
    ours : float
        Seconds an image.
    peers : dict of float
        Seconds an image, by name.
    rate : float
        Operations per second of the best matrix product.
    """
    network = NETWORKS[name]
    print(f"network {name}, {n_threads} threads", flush=True)
    ours = {"ours": Ours(network, n_threads)}
    peers = installed_peers(network, n_threads, path, options)
    products = installed_products(n_threads)
    with started({**ours, **peers, **products}) as workers:
        encoders = {key: workers[key] for key in (*ours, *peers)}
        sizes = dict.fromkeys(peers, network.batch_sizes)
        sizes["ours"] = [network.n_images]
        choose_ways(encoders, sizes, min(3, options.repeats))
        shapes = [SQUARE, *network.product_shapes()]
        choose_shapes({key: workers[key] for key in products}, shapes, 2)
        with busy_cores(options.busy):
            seconds = median_seconds(workers, options.repeats)
    rate = max(1 / seconds[key] for key in products)
    return seconds["ours"], {key: seconds[key] for key in peers}, rate


def main_table(options):
    """Print speeds, as ratios to the peers' and to the matrix product's rate."""
    pooling = "separable pooling" if options.separable else "as published"
    print(f"Ours, peers ({pooling}) and sgemm; {options.busy} busy cores besides")
    rows = {}
    for name in options.networks:
        with exported(NETWORKS[name], options.separable) as path:
            for n_threads in options.threads:
                rows[name, n_threads] = time_network(name, n_threads, path, options)
    names = peer_names(options)
    print(
        f"network | threads | ours ms/image | {' | '.join(names)} | best | goal | "
        "GF/s of sgemm | share % | share with projections %"
    )
    for (name, n_threads), (ours, peers, rate) in rows.items():
        products, projections = NETWORKS[name].multiply_adds()
        shares = [
            100 * 2 * count / ours / rate
            for count in (products, products + projections)
        ]
        print(
            f"{name:7} | {n_threads:7} | {1000 * ours:13.4f} | "
            f"{ratio_texts(names, peers, ours)} | {GOALS[name]:4} | "
            f"{rate / 1e9:13.0f} | {shares[0]:7.1f} | {shares[1]:24.1f}"
        )
    print("(peers: times over ours; shares: the direct algorithm's operations)")
