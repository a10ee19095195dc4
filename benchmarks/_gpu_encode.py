"""Encoding on the GPU against PyTorch there, and against cuBLAS."""

from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import torch
from _encode_networks import NETWORKS, Network, bind
from _gpu_machine import relative_difference, with_bound
from _gpu_peers import best_peers
from _timing import alternate_lasting

from sklearn_ckn._engine.cpu import CPUEngine

FLOAT32 = np.dtype(np.float32)

#: Images in a call of ours, and at once by the peer.
GPU_NETWORKS = {
    "a": replace(NETWORKS["a"], n_images=8192, batch_sizes=(256, 1024, 4096)),
    "b": replace(NETWORKS["b"], n_images=2048, batch_sizes=(64, 256, 1024)),
    "wide": Network((32, 32, 3), (512, 8192), (2, 6), (3, 2), 512, (16, 64, 256)),
}

#: Relative differences from the CPU engine that ours and the peer may have in float32.
OUR_BOUND, PEER_BOUND = 1e-5, 1e-4

#: Ratio to the compiled peer and percent of the product's rate that are aimed at.
AIMS = 1.5, 70

# Side of the products that give the peak, and bytes of the copy that gives the
# bandwidth: far more than what stays in caches.
PEAK_SIDE = 8192
COPY_BYTES = 2**30


def gpu_network(machine, name):
    """Return a network, a small one in a trial."""
    network = GPU_NETWORKS[name]
    if not machine.is_trial:
        return network
    n_anchors = tuple(n // 32 for n in network.n_anchors)
    return replace(network, n_anchors=n_anchors, n_images=4, batch_sizes=(2, 4))


@dataclass(frozen=True)
class Ceilings:
    """Functions that show what the GPU can do, and their work.

    Attributes
    ----------
    functions : dict of callable
    work : dict of float
        Operations or bytes of each.
    """

    functions: dict
    work: dict

    @classmethod
    def make(cls, machine):
        """Prepare products by CuPy and PyTorch and a copy on the device."""
        side, n_bytes = (64, 2**16) if machine.is_trial else (PEAK_SIDE, COPY_BYTES)
        xp = machine.xp
        rng = np.random.RandomState(0)
        values = rng.uniform(size=(2, side, side)).astype(np.float32)
        left, right = xp.asarray(values)
        out = xp.empty_like(left)
        tensors = torch.from_numpy(values).to(machine.device)
        result = torch.empty_like(tensors[0])
        source = xp.zeros(n_bytes // 4, FLOAT32)
        target = xp.empty_like(source)

        def product():
            return torch.mm(*tensors, out=result)

        return cls(
            {
                "product, CuPy": lambda: xp.matmul(left, right, out=out),
                "product, PyTorch": machine.with_tf32(False, product),
                "product, PyTorch, TF32": machine.with_tf32(True, product),
                "copy": lambda: xp.copyto(target, source),
            },
            {
                "product, CuPy": 2 * side**3,
                "product, PyTorch": 2 * side**3,
                "product, PyTorch, TF32": 2 * side**3,
                # Read and written.
                "copy": 2 * n_bytes,
            },
        )

    def rates(self, seconds):
        """Return the work per second of each function."""
        return {name: work / seconds[name] for name, work in self.work.items()}


def our_functions(machine, network, layers):
    """Return functions that map the network's images, from the GPU and from NumPy."""
    images = network.images()
    on_gpu = cycle(
        [machine.xp.array(images) for _ in range(machine.n_copies(images.nbytes))]
    )
    engine = machine.engine

    def from_gpu():
        return bind(engine, layers, images).maps(next(on_gpu))

    def from_numpy():
        # As in ``transform``, whose blocks are copied while others are computed.
        maps = None
        for part, block in bind(engine, layers, images).blocks(images, np):
            if maps is None:
                maps = np.empty((len(images), *block.shape[1:]), FLOAT32)
            maps[part] = block
        return maps

    return {"ours": from_gpu, "ours, NumPy": from_numpy}


def check(machine, network, layers, ours):
    """Print how far ours are from the CPU engine; return the latter's first maps."""
    n = min(8, network.n_images)
    images = network.images()[:n]
    expected = bind(CPUEngine(), layers, images).maps(images)
    # Of all images, since their number decides what cuBLAS chooses.
    differences = [
        relative_difference(machine.to_numpy(function()[:n]), expected)
        for function in ours.values()
    ]
    bound = np.inf if machine.is_tf32 else OUR_BOUND
    texts = ", ".join(with_bound(each, bound) for each in differences)
    print(f"   from the CPU engine, l2: ours from the GPU and from NumPy {texts}")
    return expected


def check_peers(machine, peers, expected):
    """Print how far the peers, as they will be timed, are from our CPU engine."""
    texts = []
    for name, peer in peers.items():
        # The first images of all batches are the same.
        maps = machine.to_numpy(peer.encode()).transpose(0, 2, 3, 1)
        n = min(len(maps), len(expected))
        difference = relative_difference(maps[:n], expected[:n])
        bound = np.inf if "TF32" in name else PEER_BOUND
        texts.append(f"{name} {with_bound(difference, bound)}")
    print(f"   the peers: {', '.join(texts)}", flush=True)


def describe_rates(rates):
    """Print what the GPU can do."""
    texts = [
        f"{name} {rate / 1e12:.2f} {'TB/s' if name == 'copy' else 'TFLOP/s'}"
        for name, rate in rates.items()
    ]
    print(f"   {', '.join(texts)}")


def time_network(machine, name, options):
    """Compare, then time ours, the peers and the products in turn; print the rows."""
    machine.clear()
    network = gpu_network(machine, name)
    layers = network.layers(machine.xp)
    print(f"{name}: anchors {network.n_anchors}, patches {network.patch_size}")
    ours = our_functions(machine, network, layers)
    expected = check(machine, network, layers, ours)
    peers = best_peers(machine, network, layers, options)
    check_peers(machine, peers, expected)
    memory = {"ours": machine.our_bytes(ours["ours"])}
    memory |= {key: machine.peer_bytes(peer.encode) for key, peer in peers.items()}

    ceilings = Ceilings.make(machine)
    functions = dict(ours)
    functions |= {key: peer.encode for key, peer in peers.items()}
    fastest = "compiled" if "compiled" in peers else "eager"
    everything = network.images()
    functions["peer, NumPy"] = lambda: peers[fastest].maps(everything)
    seconds = alternate_lasting(
        functions | ceilings.functions, options.repeats, machine.synchronize
    )
    rates = ceilings.rates(seconds)
    describe_rates(rates)
    n_images = dict.fromkeys(functions, network.n_images)
    n_images |= {key: peer.batch_size for key, peer in peers.items()}
    each = {key: seconds[key] / n_images[key] for key in functions}
    print_rows(machine, name, network, each, rates, memory)
    ratio = each[fastest] / each["ours"]
    print(f"   {fastest} / ours {ratio:.2f}, aim {AIMS[0]}", flush=True)
    machine.clear()


def print_rows(machine, name, network, each, rates, memory):
    """Print the table of a network; shares are of the rate of products as ours are."""
    products, projections = network.multiply_adds()
    peak = rates["product, CuPy"]
    if not machine.is_tf32:
        peak = max(peak, rates["product, PyTorch"])
    print(
        "network | what           | us/image  | over ours | share % | "
        "products only | memory MB"
    )
    for key, value in each.items():
        base = each["ours, NumPy" if "NumPy" in key else "ours"]
        shares = [
            200 * count / value / peak for count in (products + projections, products)
        ]
        megabytes = f"{memory[key] / 1e6:9.0f}" if key in memory else " " * 9
        print(
            f"{name:7} | {key:14} | {1e6 * value:9.3f} | {value / base:9.2f} | "
            f"{shares[0]:7.1f} | {shares[1]:13.1f} | {megabytes}"
        )


def encode_table(machine, options):
    """Print the times of encoding."""
    print("Encoding, images and maps on the GPU or, where it says so, in NumPy")
    print(
        "   share: operations of the direct algorithm per second over those of the "
        f"fastest product of matrices, aim {AIMS[1]}"
    )
    for name in options.networks:
        time_network(machine, name, options)
