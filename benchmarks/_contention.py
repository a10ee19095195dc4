"""Encoding while another process keeps a core busy."""

from _encode_engines import Ours
from _encode_networks import NETWORKS
from _encode_peers import choose_ways, installed_peers, peer_names, ratio_texts
from _onnx_ckn import exported
from _workers import busy_cores, median_seconds, started

# With a busy core, all threads are to be this many times as fast as one.
SPEED_UP_GOAL = 1.25

# A busy core is to leave this much of the ratio of the best peer's time to ours.
RATIO_GOAL = 0.8


def time_engines(options):
    """Time ours and the peers without and with a busy core.

    Returns
    -------
    seconds : dict of (number of busy cores, number of threads, name) to float
        Of an image.
    """
    network = NETWORKS["a"]
    with exported(network, options.separable) as path:
        engines = {}
        for n_threads in options.threads:
            engines[n_threads, "ours"] = Ours(network, n_threads)
            peers = installed_peers(network, n_threads, path, options)
            engines |= {(n_threads, name): peer for name, peer in peers.items()}
        sizes = {
            (n_threads, name): [network.n_images]
            if name == "ours"
            else network.batch_sizes
            for n_threads, name in engines
        }
        with started(engines) as workers:
            choose_ways(workers, sizes, min(3, options.repeats))
            seconds = {}
            for n_busy in (0, 1):
                with busy_cores(n_busy):
                    each = median_seconds(workers, options.repeats)
                seconds |= {(n_busy, *key): value for key, value in each.items()}
    return seconds


def contention_table(options):
    """Print times and ratios without and with a busy core, and what they change by."""
    print("Network a, without and with one core that another process keeps busy")
    seconds = time_engines(options)
    names = peer_names(options)
    print(f"busy cores | threads | ours ms/image | {' | '.join(names)} | best")
    best = {}
    for n_busy in (0, 1):
        for n_threads in options.threads:
            ours = seconds[n_busy, n_threads, "ours"]
            peers = {
                name: seconds[n_busy, n_threads, name]
                for name in names
                if (n_busy, n_threads, name) in seconds
            }
            best[n_busy, n_threads] = min(peers.values(), default=float("nan")) / ours
            print(
                f"{n_busy:10} | {n_threads:7} | {1000 * ours:13.4f} | "
                f"{ratio_texts(names, peers, ours)}"
            )
    for n_threads in options.threads:
        kept = best[1, n_threads] / best[0, n_threads]
        print(
            f"{n_threads} threads: best peer / ours with a busy core over that without "
            f"{kept:.2f} (goal {RATIO_GOAL})"
        )
    few, many = min(options.threads), max(options.threads)
    speed_up = seconds[1, few, "ours"] / seconds[1, many, "ours"]
    print(
        f"with a busy core, {many} threads over {few}: {speed_up:.2f} times as fast "
        f"(goal {SPEED_UP_GOAL})"
    )
