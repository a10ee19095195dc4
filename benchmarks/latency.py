"""The latency of ``transform`` on a few images against that of the engine alone.

The default network maps one image of 32 x 32 x 3, or a few, in two ways, called in
turn: by ``CKNFeatures.transform``, which validates the images, scales them and finds
the prepared layers; and by the engine's operation on images and layers that are
ready. Limits of threads and a process that keeps one core busy are varied. The time of
``transform`` on one image is to be at most 1.3 times that of the engine. Run with
``python benchmarks/latency.py``.
"""

import argparse
import multiprocessing
from contextlib import contextmanager

import numpy as np
from _timing import alternate
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNFeatures
from sklearn_ckn._engine.cpu import CPUEngine

#: Time of ``transform`` on one image over that of the engine.
LIMIT = 1.3


def _spin():
    while True:
        pass


@contextmanager
def other_processes(n_processes):
    """Keep as many cores busy."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_spin, daemon=True) for _ in range(n_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def make_functions(n_images):
    """Return the two ways to map images, by their names."""
    rng = np.random.RandomState(0)
    images = rng.uniform(size=(300, 32, 32, 3)).astype(np.float32)
    features = CKNFeatures(n_patches=5000, random_state=0).fit(images)
    engine = CPUEngine()
    prepared = engine.prepare(features._network, images.dtype)
    few = images[:n_images]
    return {
        "engine": lambda: engine.encode(few, prepared),
        "transform": lambda: features.transform(few),
    }


def main():
    """Print the two times and their ratio for every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args()
    print("images | threads | busy cores | engine us | transform us | ratio")
    for n_images in options.images:
        functions = make_functions(n_images)
        for n_busy in (0, 1):
            for n_threads in options.threads:
                with other_processes(n_busy), threadpool_limits(n_threads):
                    alternate(functions, 20)
                    seconds = alternate(functions, options.repeats)
                ours, whole = (1e6 * seconds[name] for name in functions)
                limit = f" (at most {LIMIT})" if n_images == 1 else ""
                print(
                    f"{n_images:6} | {n_threads:7} | {n_busy:10} | {ours:9.0f} | "
                    f"{whole:12.0f} | {whole / ours:.2f}{limit}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
