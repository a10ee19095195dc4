"""What encoding costs by layer, threads, image size and memory."""

import ctypes
import resource
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from _encode_networks import NETWORKS, prepare
from _timing import alternate, in_process, peak_memory
from threadpoolctl import ThreadpoolController, threadpool_limits

from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._network.network import Network


def layer_table(options):
    """Print the time of each layer: of a network up to it, less that of one before."""
    print("Time of each layer; multiply-adds are those of the direct algorithm,")
    print("with 16 for each value of the kernel function")
    print("network | layer | us/image | share % | 10^9 multiply-adds/s")
    for name in options.networks:
        network, engine = NETWORKS[name], CPUEngine()
        layers, images = network.layers(), network.images()
        learned = Network(tuple(layers), network.image_shape)
        functions = {
            n: partial(engine.encode, images, prepare(engine, layers[:n], images))
            for n in range(1, len(layers) + 1)
        }
        alternate(functions, 1)
        seconds = {0: 0.0, **alternate(functions, options.repeats)}
        work = [learned.first(n).multiply_adds for n in seconds]
        for n in functions:
            own = (seconds[n] - seconds[n - 1]) / len(images)
            rate = (work[n] - work[n - 1]) / own
            print(
                f"{name:7} | {n:5} | {1e6 * own:8.2f} | "
                f"{100 * own * len(images) / seconds[len(layers)]:7.1f} | "
                f"{rate / 1e9:8.1f}",
                flush=True,
            )


def scaling_table(options):
    """Print how much faster more threads are than one."""
    all_threads = max(options.threads)
    print(f"From 1 thread to {all_threads}")
    print(f"network | 1: ms/image | {all_threads}: ms/image | ratio")
    # Looks through the libraries of the process once; every limit is then quick.
    controller = ThreadpoolController()
    for name in options.networks:
        network, engine = NETWORKS[name], CPUEngine()
        layers, images = network.layers(), network.images()

        prepared = prepare(engine, layers, images)

        def encode(n_threads, engine=engine, images=images, prepared=prepared):
            with controller.limit(limits=n_threads, user_api="openmp"):
                engine.encode(images, prepared)

        functions = {
            n_threads: lambda encode=encode, n_threads=n_threads: encode(n_threads)
            for n_threads in (1, all_threads)
        }
        alternate(functions, 1)
        seconds = alternate(functions, options.repeats)
        one, many = (1000 * seconds[n] / len(images) for n in (1, all_threads))
        print(f"{name:7} | {one:11.4f} | {many:11.4f} | {one / many:5.2f}", flush=True)


def size_table(options):
    """Print the cost of network a on images of several sizes."""
    print("Network a on larger images")
    print("side | images | ms/image | ns/pixel")
    network, engine = NETWORKS["a"], CPUEngine()
    layers = network.layers()
    n_images = {side: max(16, 256 * 32**2 // side**2) for side in (32, 64, 128, 256)}
    functions = {}
    for side, n in n_images.items():
        images = network.images(n, side)
        prepared = prepare(engine, layers, images)
        functions[side] = partial(engine.encode, images, prepared)
    alternate(functions, 1)
    seconds = alternate(functions, options.repeats)
    for side, value in seconds.items():
        each = value / n_images[side]
        print(
            f"{side:4} | {n_images[side]:6} | {1000 * each:8.3f} | "
            f"{1e9 * each / side**2:8.1f}"
        )


def fill_to_peak():
    """Return memory that brings this process to its peak so far, where it can.

    Without it, what the preparation has used and freed hides what is used later.
    """
    if sys.platform != "linux":
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    missing = 1024 * 1000 * peak_memory() - pages * resource.getpagesize()
    return np.ones(max(0, int(missing)), np.uint8)


class PrepareEncoding:
    """What a fresh process prepares; a class, so that it can be sent there."""

    def __init__(self, kind, name, n_images, n_threads):
        self.kind, self.name = kind, name
        self.n_images, self.n_threads = n_images, n_threads

    def __call__(self):
        """Return a function that encodes, and memory to be kept until it ends."""
        network = NETWORKS[self.name]
        layers, images = network.layers(), network.images(self.n_images)
        threadpool_limits(limits=self.n_threads)
        # What is loaded with the first call does not count: it uses a tiny image.
        tiny = network.images(1, 4)
        if self.kind == "ours":
            Encoding(tiny, layers)()
            encode = Encoding(images, layers)
        else:
            import torch
            from _torch_ckn import torch_encoder

            torch.set_num_threads(self.n_threads)
            formats = {"channels_last": False, "compiled": False}
            torch_encoder(layers, tiny, **formats)()
            encode = torch_encoder(layers, images, **formats)
        return encode, fill_to_peak()


class Encoding:
    """Our encoding of some images, by an engine that has seen nothing before."""

    def __init__(self, images, layers):
        self.images, self.layers = images, layers

    def __call__(self):
        """Return the maps."""
        engine = CPUEngine()
        prepared = prepare(engine, self.layers, self.images)
        return engine.encode(self.images, prepared)


def output_size(encode, _):
    """Encode; return the output's size in the unit of the peak, as a string."""
    output = encode()
    return output.nbytes / 1024 / 1000


def memory_table(options):
    """Print by how much encoding raises a fresh process's peak."""
    n_threads = max(options.threads)
    print("Memory that encoding takes beyond its output, in fresh processes")
    print("network | encoder | images | output MB | beyond MB | MB / thread")
    for name in options.networks:
        network = NETWORKS[name]
        kinds = [("ours", 2 * network.n_images), ("ours", 4 * network.n_images)]
        if find_spec("torch"):
            kinds.append(("eager", 64))
        for kind, n_images in kinds:
            prepare = PrepareEncoding(kind, name, n_images, n_threads)
            output, _, before, peak = in_process(prepare, output_size)
            beyond = peak - before - output
            print(
                f"{name:7} | {kind:7} | {n_images:6} | {output:9.1f} | "
                f"{beyond:9.1f} | {beyond / n_threads:11.1f}",
                flush=True,
            )
