"""Everything that is measured on a GPU, in one command.

Run with ``python benchmarks/gpu.py --data DIR`` on a machine with an NVIDIA GPU, CuPy
and PyTorch; ``DIR`` holds ``cifar10_train.npz`` with arrays ``X`` (50,000, 32, 32, 3)
uint8 and ``y``. Clocks stop when the GPU is done, everything has run before it is
timed, times are medians of alternating runs, and results are compared. ``--parts``
chooses:

- ``correlate``: images and filters by SciPy, PyTorch, CuPy and ours
- ``encode``: networks against PyTorch, eager and compiled, TF32 off and on
- ``step``: steps of training against PyTorch
- ``train``: published networks trained on CIFAR-10, hours
- ``wide``: wide networks with ridge and SVM heads

``--trial`` runs all of it in small on a CPU, where it says nothing about speed.
"""

import argparse

from _gpu_correlate import correlate_table
from _gpu_encode import GPU_NETWORKS, encode_table
from _gpu_machine import Machine
from _gpu_steps import step_table
from _gpu_train import train_table, wide_table

PARTS = {
    "correlate": correlate_table,
    "encode": encode_table,
    "step": step_table,
    "train": train_table,
    "wide": wide_table,
}


def main():
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--networks", nargs="+", choices=GPU_NETWORKS, default=list(GPU_NETWORKS)
    )
    parser.add_argument("--data", help="folder of cifar10_train.npz")
    parser.add_argument(
        "--epochs", type=int, help="of a training; default: as published"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--trial", action="store_true")
    options = parser.parse_args()
    machine = Machine(options.trial)
    print(machine.describe(), flush=True)
    for part in options.parts:
        PARTS[part](machine, options)


if __name__ == "__main__":
    main()
