"""Everything that is measured on a GPU, in one command.

Run with ``python benchmarks/gpu.py --data DIR`` on a machine with an NVIDIA GPU, CuPy
and PyTorch; ``DIR`` holds CIFAR-10, see ``_cifar.py``. Results are compared before
anything is timed. Clocks stop when the GPU is done, everything has run before, and
times are medians of runs in turn. ``--parts`` chooses:

- correlate: images and filters by SciPy, PyTorch, CuPy and ours
- encode: networks against PyTorch, eager and compiled, TF32 off and on, and against
  products of matrices
- step: gradients of a batch against PyTorch's, as seconds of an epoch
- train: published networks trained on CIFAR-10, whole runs of hours
- wide: wide networks without supervision, ridge and SVM heads

Our own products are rounded to TF32 where ``CUPY_TF32=1`` is in the environment, as all
of CuPy's are; the tables then say so and bound no difference of ours. ``--trial`` runs
all of it in small on a CPU, which stands for the GPU: that shows that it runs, and
nothing about speed.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from _gpu_correlate import correlate_table
from _gpu_encode import GPU_NETWORKS, encode_table
from _gpu_machine import Machine
from _gpu_steps import NAMES, step_table
from _gpu_train import AUGMENTS, PUBLISHED, train_table, wide_table

PARTS = {
    "correlate": correlate_table,
    "encode": encode_table,
    "step": step_table,
    "train": train_table,
    "wide": wide_table,
}


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=GPU_NETWORKS,
        default=list(GPU_NETWORKS),
        help="of the part encode",
    )
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=NAMES,
        default=list(NAMES),
        help="networks of the part step",
    )
    parser.add_argument(
        "--data", type=Path, help="without it, images of that shape are made up"
    )
    parser.add_argument(
        "--epochs", type=int, help="of the part train, default: as published"
    )
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=PUBLISHED,
        default=list(PUBLISHED),
        help="of the part train",
    )
    parser.add_argument(
        "--augments",
        nargs="+",
        choices=AUGMENTS,
        default=list(AUGMENTS),
        help="of the part train",
    )
    parser.add_argument(
        "--widths",
        type=int,
        nargs="+",
        default=[8192, 16_384],
        help="anchors of the second layer in the part wide",
    )
    parser.add_argument(
        "--flip-average",
        action="store_true",
        help="average features over mirror images in the part wide",
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--no-compile", action="store_true", help="leave torch.compile out"
    )
    parser.add_argument(
        "--trial", action="store_true", help="in small on a CPU, without a GPU"
    )
    return parser.parse_args()


def main():
    """Run the parts and print their tables."""
    options = parse_arguments()
    machine = Machine(options.trial)
    print(machine.describe(), flush=True)
    failed = []
    for part in PARTS:
        if part in options.parts:
            print()
            # Neither library's memory is to be in the way of the next part's.
            machine.clear()
            start = time.perf_counter()
            try:
                PARTS[part](machine, options)
            except Exception:
                # Later parts take hours, and one would have to start all over.
                traceback.print_exc()
                failed.append(part)
            print(f"   ({part}: {time.perf_counter() - start:.0f} s)", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
