"""Fits that do not hold their images or features in memory: memory, time, workers.

Images of 32 x 32 x 3 pixels are made up when they are read. Parts: ``memory``, peak
memory and time of ``CKNClassifier.fit`` against the number of images; ``streaming``,
against the fit with all features in memory; ``workers``, encoding and Gram matrices by
two Dask workers of one thread against one; ``kills``, fits on a cluster whose workers
are killed, against one that nobody disturbs; ``rates``, what a cluster is sized by, on
one thread. Run with ``python benchmarks/scale.py``.
"""

import argparse
import os
import signal
import statistics
import threading
import time
from functools import partial

import dask.array as da
import numpy as np
from _made_images import MadeImages
from _timing import in_process, processor_name
from dask.distributed import Client, LocalCluster
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNClassifier, CKNFeatures
from sklearn_ckn._common.dask_arrays import DaskImages
from sklearn_ckn._common.lower_triangles import lower_gram
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._heads.path import one_vs_rest
from sklearn_ckn._heads.summed import SummedFeatures
from sklearn_ckn._learning.training_features import EncodedImages


def make_classifier(n_anchors, **parameters):
    """Return a classifier with nothing to choose but alpha."""
    return CKNClassifier(
        n_anchors,
        whitening=None,
        flip_average=False,
        normalize=0.5,
        random_state=0,
        **parameters,
    )


def fit(n, n_anchors, streaming):
    """Fit to n images; return alpha, its accuracy and the accuracy on other images."""
    images = MadeImages(n + 2000)
    train = images[:n] if streaming is False else MadeImages(n)
    model = make_classifier(n_anchors, streaming=streaming)
    model.fit(train, images.labels[:n])
    accuracy = model.score(images[n : n + 2000], images.labels[n:])
    return model.alpha_, max(model.alpha_scores_), accuracy


def measure_memory(arguments):
    """Print peak memory and seconds against the number of images."""
    print("images    | s      | us an image | MB     | alpha   | LOO    | test")
    for n in arguments.sizes:
        function = partial(fit, n, tuple(arguments.n_anchors), True)
        (alpha, loo, test), seconds, _, peak = in_process(tuple, function)
        print(
            f"{n:9,} | {seconds:6.1f} | {1e6 * seconds / n:11.0f} | {peak:6.0f} | "
            f"{alpha:.1e} | {loo:.4f} | {test:.4f}",
            flush=True,
        )


def measure_streaming(arguments):
    """Print the seconds with and without the features in memory, and the ratio."""
    n = arguments.n_images
    seconds = {False: [], True: []}
    results = set()
    for _ in range(arguments.repeats):
        for streaming, values in seconds.items():
            function = partial(fit, n, tuple(arguments.n_anchors), streaming)
            result, taken, _, _ = in_process(tuple, function)
            values.append(taken)
            results.add(result)
            print(f"streaming {streaming!s:5} | {taken:6.1f} s", flush=True)
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    print(f"{n:,} images: streaming takes {ratio:.2f} x; results {results}")


def on_cluster(n_workers, function):
    """Call a function with a client of a cluster of workers of one thread."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        return function(client)


def dask_images(n, chunk):
    """Return made-up images as a Dask array, and their labels."""
    images = MadeImages(n)
    return da.from_array(images, chunks=(chunk, -1, -1, -1)), images.labels


def sum_up(network, n, chunk, repeats, client):
    """Return the seconds of encoding images and summing their Gram matrix."""
    X, labels = dask_images(n, chunk)
    targets = one_vs_rest(labels, labels.max() + 1)
    encoder = CPUEngine().bind(network, np.dtype(np.float32))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        source = EncodedImages(encoder, DaskImages(X))
        SummedFeatures.from_source(source, targets, np.ones(n), None)
        seconds.append(time.perf_counter() - start)
    # The first call also imports the package in the workers.
    return statistics.median(seconds[1:])


def measure_workers(arguments):
    """Print the seconds of encoding and Gram matrix with one and two workers."""
    n, chunk = arguments.n_images, arguments.chunk
    features = CKNFeatures(tuple(arguments.n_anchors), normalize=0.5, random_state=0)
    network = features.fit(MadeImages(2000)[:])._network
    seconds = {1: [], 2: []}
    for _ in range(arguments.repeats):
        for n_workers, values in seconds.items():
            function = partial(sum_up, network, n, chunk, 1)
            values.append(on_cluster(n_workers, function))
            print(f"{n_workers} workers | {values[-1]:6.1f} s", flush=True)
    ratio = statistics.median(seconds[1]) / statistics.median(seconds[2])
    print(f"{n:,} images: two workers are {ratio:.2f} x as fast as one")


def kill_workers(client, delays, killed):
    """Kill a worker after each of the delays, in seconds; note when."""
    start = time.perf_counter()
    for delay in delays:
        time.sleep(max(0, start + delay - time.perf_counter()))
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            continue
        (pid,) = client.run(os.getpid, workers=workers[:1]).values()
        os.kill(pid, signal.SIGKILL)
        killed.append(time.perf_counter())


def fit_and_kill(n, chunk, n_anchors, delays, client):
    """Return coefficients, decisions, seconds, and the kills during the fit."""
    X, labels = dask_images(n, chunk)
    killed = []
    thread = threading.Thread(
        target=kill_workers, args=(client, delays, killed), daemon=True
    )
    start = time.perf_counter()
    thread.start()
    model = make_classifier(n_anchors).fit(X, labels)
    end = time.perf_counter()
    thread.join()
    decisions = model.decision_function(X[:2000]).compute()
    return model.coef_, decisions, end - start, sum(moment < end for moment in killed)


def measure_kills(arguments):
    """Print how many workers were killed, and how many models are the same."""
    n, chunk = arguments.n_images, arguments.chunk // 4
    function = partial(fit_and_kill, n, chunk, tuple(arguments.n_anchors))
    *expected, seconds, _ = on_cluster(2, partial(function, ()))
    print(f"{n:,} images, undisturbed: {seconds:.1f} s")
    n_kills = n_equal = 0
    for i in range(arguments.kills):
        first = seconds * (i + 0.5) / arguments.kills
        delays = first, first + 2
        *found, taken, killed = on_cluster(2, partial(function, delays))
        same = all(map(np.array_equal, found, expected))
        n_kills += killed
        n_equal += same
        print(
            f"killed {killed} from {first:.1f} s on, took {taken:.1f} s: the same "
            f"bits: {same}",
            flush=True,
        )
    print(f"{n_kills} workers killed, {n_equal} of {arguments.kills} models equal")


def measure_rates(arguments):
    """Print the seconds of the steps of a fit with 64 and 256 anchors, one thread."""
    images = MadeImages(4000)[:]
    features = CKNFeatures((64, 256), random_state=0).fit(images[:1000])
    with threadpool_limits(1):
        start = time.perf_counter()
        values = features.transform(images)
        encoded = time.perf_counter()
        gram = lower_gram(values)
        multiplied = time.perf_counter()
        eigh(gram.astype(np.float64), driver="evd", overwrite_a=True)
        decomposed = time.perf_counter()
    n, d = values.shape
    print(f"encoding        | {1e6 * (encoded - start) / n:7.0f} us an image")
    print(f"Gram, d = {d:5} | {1e6 * (multiplied - encoded) / n:7.0f} us an image")
    print(f"decomposition   | {decomposed - multiplied:7.1f} s")


PARTS = {
    "memory": measure_memory,
    "streaming": measure_streaming,
    "workers": measure_workers,
    "kills": measure_kills,
    "rates": measure_rates,
}


def main():
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 40_000, 160_000]
    )
    parser.add_argument("--n-images", type=int, default=40_000)
    parser.add_argument("--n-anchors", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--chunk", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=8)
    arguments = parser.parse_args()
    print(processor_name())
    for part in arguments.parts:
        print(f"== {part}")
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
