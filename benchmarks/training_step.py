"""One training step, forward and backward, against a CKN written in PyTorch.

The peer computes the same network with automatic differentiation, in channels-first
order, pools before it projects, and takes the gradient through the inverse square
root by the right formula; ``--compiled`` adds it under ``torch.compile``. Both compute
the gradients of the mean squared hinge loss in all anchors, of the same images with the
same parameters, and ours those of the head; the table ends with how far they are apart.
Times are the best over batch sizes of seconds per image, medians of alternating runs;
memory is by how much three steps of the largest batch raise a fresh process's peak. Run
with ``python benchmarks/training_step.py``; PyTorch is needed. Networks: a, 64 and 256
anchors; b, 256 and 1024; and the 5 layers, on request 14, of published networks.
"""

import argparse

import torch
from _timing import alternate, in_process, nothing
from _training_steps import NETWORKS, difference, our_step, torch_step

BATCH_SIZES = {
    "a": [32, 128, 256],
    "b": [32, 128, 256],
    "5 layers": [32, 128, 256],
    "14 layers": [32, 128],
}


def _ready(kind, name, batch_size):
    makers = {"ours": our_step, "eager": torch_step, "compiled": torch_step}
    extra = () if kind == "ours" else (kind == "compiled",)
    return (makers[kind](name, batch_size, *extra),)


def _run_three(step):
    for _ in range(3):
        step()


class _Prepare:
    """What a fresh process prepares; a class, so that it can be sent there."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __call__(self):
        return _ready(*self.arguments)


def peak_growth(kind, name, batch_size):
    """Return by how many MB three steps raise a fresh process's peak memory."""
    _, _, before, peak = in_process(_Prepare(kind, name, batch_size), _run_three)
    return peak - before


def best_steps(name, kinds, batch_sizes, repeats):
    """Return each kind's least seconds per image, and the batch size it needs."""
    # What was compiled for another network counts against the limit of variants.
    torch.compiler.reset()
    steps = {}
    for kind in kinds:
        for batch_size in batch_sizes:
            (step,) = _ready(kind, name, batch_size)
            step()
            steps[kind, batch_size] = step
    return fastest(steps, repeats)


def fastest(steps, repeats, synchronize=nothing):
    """Time steps in turn; return the least seconds per image of each kind.

    Parameters
    ----------
    steps : dict of (kind, batch size) to callable
    repeats : int
    synchronize : callable
        Waits for a device.

    Returns
    -------
    best : dict of kind to (float, int)
        Seconds per image and the batch size that they need.
    """
    best = {}
    for (kind, batch_size), seconds in alternate(steps, repeats, synchronize).items():
        candidate = seconds / batch_size, batch_size
        best[kind] = min(best.get(kind, candidate), candidate)
    return best


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--networks", nargs="+", choices=list(NETWORKS), default=["a", "b", "5 layers"]
    )
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", help="default: by the network's size"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compiled", action="store_true")
    return parser.parse_args()


def main():
    """Time the steps and print the table."""
    arguments = parse_arguments()
    kinds = ["ours", "eager"] + ["compiled"] * arguments.compiled
    sizes = {name: arguments.batch_sizes or BATCH_SIZES[name] for name in NETWORKS}
    # First of all: a process starts with the peak of the one that starts it.
    memory = {
        (name, kind): peak_growth(kind, name, max(sizes[name]))
        for name in arguments.networks
        for kind in kinds
    }
    print("network  | step     | best batch | ms/image | over ours | memory MB")
    print("---------|----------|------------|----------|-----------|----------")
    for name in arguments.networks:
        best = best_steps(name, kinds, sizes[name], arguments.repeats)
        ours = best["ours"][0]
        for kind in kinds:
            each, batch_size = best[kind]
            print(
                f"{name:8} | {kind:8} | {batch_size:10} | {1000 * each:8.3f} | "
                f"{each / ours:9.2f} | {memory[name, kind]:9.0f}",
                flush=True,
            )
        ratios = [f"{kind} / ours {best[kind][0] / ours:.2f}" for kind in kinds[1:]]
        print(
            f"{name:8} | {', '.join(ratios)}; "
            f"largest relative difference {difference(name):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
