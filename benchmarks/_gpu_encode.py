"""Encoding on the GPU against PyTorch there, and against cuBLAS."""

from functools import partial
from math import prod

import numpy as np
import torch
from _timing import alternate
from _torch_ckn import torch_encoder

from sklearn_ckn._blocks import encode_block
from sklearn_ckn._engine import CPUEngine
from sklearn_ckn._layer import Layer, LayerSettings, map_shapes
from sklearn_ckn._norms import unit_rows

#: Anchors, patch sizes and images at once of ours; images at once of the peer.
NETWORKS = {
    "a": ((64, 256), (3, 3), 16_384, (256, 1024, 4096)),
    "b": ((256, 1024), (3, 3), 4096, (64, 256, 1024)),
    "wide": ((512, 8192), (3, 2), 1024, (16, 64, 256)),
}
SUBSAMPLING = (2, 6)

# Side of the products that give the peak, and bytes of the copy that gives the
# bandwidth: far more than what stays in caches.
PEAK_SIDE = 8192
COPY_BYTES = 2**31


def make_layers(machine, name):
    """Return a network of random anchors, in float32."""
    n_anchors, patch_sizes, _, _ = NETWORKS[name]
    if machine.is_trial:
        n_anchors = tuple(n // 32 for n in n_anchors)
    rng = np.random.RandomState(0)
    layers, n_channels = [], 3
    for n, patch_size, subsampling in zip(
        n_anchors, patch_sizes, SUBSAMPLING, strict=True
    ):
        settings = LayerSettings(n, patch_size, subsampling, "exp", 2.8, "same", 1e-3)
        anchors = unit_rows(rng.randn(n, patch_size**2 * n_channels))
        # On the GPU: the decomposition of 8,192 anchors takes minutes elsewhere.
        layer = Layer.from_anchors(settings, machine.xp.asarray(anchors))
        layers.append(layer.to_namespace(np).astype("f4"))
        n_channels = n
    return layers


def multiply_adds(layers):
    """Count those of the direct algorithm for one 32 x 32 x 3 image."""
    shapes = map_shapes((32, 32, 3), layers)
    return sum(
        prod(layer.settings.response_shape(shape)) * layer.anchors.size
        + prod(output) * output[2]
        for layer, shape, output in zip(layers, shapes, shapes[1:], strict=False)
    )


def ceilings(machine, repeats):
    """Return the FLOP/s of float32 and TF32 products, and bytes/s of a copy."""
    side, n_bytes = (64, 2**16) if machine.is_trial else (PEAK_SIDE, COPY_BYTES)
    tensors = torch.rand(2, side, side, device=machine.torch_device)
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=machine.torch_device)
    target = torch.empty_like(source)
    left, right = (machine.xp.asarray(machine.to_numpy(each)) for each in tensors)

    def tf32():
        with machine.tf32(True):
            return tensors[0] @ tensors[1]

    functions = {
        "float32": lambda: left @ right,
        "tf32": tf32,
        "copy": lambda: target.copy_(source),
    }
    functions = {key: machine.synchronized(each) for key, each in functions.items()}
    alternate(functions, 2)
    seconds = alternate(functions, repeats)
    n_flops = 2 * side**3
    return {
        "float32": n_flops / seconds["float32"],
        "tf32": n_flops / seconds["tf32"],
        "copy": 2 * n_bytes / seconds["copy"],
    }


def time_ours(machine, layers, images, repeats):
    """Return seconds per image from and to the GPU and the CPU, and memory used."""
    engine, dtype = machine.engine, np.dtype(np.float32)
    on_gpu = machine.xp.asarray(images)
    before = machine.used_bytes()
    functions = {
        "on the GPU": lambda: encode_block(on_gpu, layers, engine, dtype),
        "from and to NumPy": lambda: encode_block(images, layers, engine, dtype),
    }
    functions = {key: machine.synchronized(each) for key, each in functions.items()}
    alternate(functions, 2)
    seconds = alternate(functions, repeats)
    return (
        {key: value / len(images) for key, value in seconds.items()},
        machine.used_bytes() - before,
    )


def time_peer(machine, layers, images, batch_sizes, compiled, is_allowed, repeats):
    """Return the peer's least seconds per image and what it takes for them."""
    best = np.inf, None
    for n in batch_sizes:
        for channels_last in (False, True):
            torch.compiler.reset()
            machine.clear()
            try:
                with machine.tf32(is_allowed):
                    encode = torch_encoder(
                        layers,
                        images[:n],
                        channels_last=channels_last,
                        compiled=compiled,
                        separable=True,
                        device=machine.torch_device,
                    )
                    function = machine.synchronized(encode)
                    alternate({"": function}, 3)
                    seconds = alternate({"": function}, repeats)[""] / n
            except torch.OutOfMemoryError:
                continue
            order = "channels last" if channels_last else "channels first"
            best = min(best, (seconds, f"batches of {n}, {order}"))
    return best


def check(machine, layers, images):
    """Return how far ours on the GPU and the peer are from ours on the CPU."""
    few = images[:8]
    dtype = np.dtype(np.float32)
    expected = encode_block(few, layers, CPUEngine(), dtype)
    with machine.tf32(False):
        theirs = torch_encoder(
            layers,
            few,
            channels_last=False,
            compiled=False,
            device=machine.torch_device,
        )()
    results = (
        encode_block(few, layers, machine.engine, dtype),
        machine.to_numpy(theirs).transpose(0, 2, 3, 1),
    )
    scale = np.linalg.norm(expected)
    return [np.linalg.norm(each - expected) / scale for each in results]


def encode_table(machine, options):
    """Print the times of encoding."""
    peaks = ceilings(machine, options.repeats)
    print(
        f"\nEncoding. cuBLAS: {peaks['float32'] / 1e12:.1f} TFLOP/s in float32, "
        f"{peaks['tf32'] / 1e12:.1f} in TF32; copy {peaks['copy'] / 1e12:.2f} TB/s"
    )
    print("network | what                    | us/image  | over ours | % of peak | at")
    for name in options.networks:
        layers = make_layers(machine, name)
        _, _, n_images, batch_sizes = NETWORKS[name]
        if machine.is_trial:
            n_images, batch_sizes = 4, (2, 4)
        images = np.random.RandomState(1).uniform(size=(n_images, 32, 32, 3))
        images = images.astype(np.float32)
        ours_off, theirs_off = check(machine, layers, images)
        ours, n_bytes = time_ours(machine, layers, images, options.repeats)
        n_flops = 2 * multiply_adds(layers)

        def row(what, seconds, at, unit, name=name, ours=ours, n_flops=n_flops):
            print(
                f"{name:7} | {what:23} | {1e6 * seconds:9.3f} | "
                f"{seconds / ours['on the GPU']:9.2f} | "
                f"{100 * n_flops / seconds / peaks[unit]:9.1f} | {at}",
                flush=True,
            )

        for key, value in ours.items():
            row(f"ours, {key}", value, f"{n_images} images", "float32")
        for is_allowed, unit in ((False, "float32"), (True, "tf32")):
            for compiled in (False, True)[: 1 + (not options.no_compile)]:
                kind = "compiled" if compiled else "eager"
                time_it = partial(
                    time_peer, machine, layers, images, batch_sizes, compiled
                )
                seconds, at = time_it(is_allowed, options.repeats)
                row(f"PyTorch {kind}, {unit}", seconds, at, unit)
        print(
            f"   ours and the peer from our CPU engine, l2: {ours_off:.1e}, "
            f"{theirs_off:.1e}; memory {n_bytes / 1e6:.0f} MB"
        )
        machine.clear()
