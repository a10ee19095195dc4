"""Encoding on the CPU: speed against PyTorch and matrix products, and where it goes.

Networks, with random anchors, on images of noise: a, 32 x 32 x 3 -> 64 -> 256 anchors,
patches of 3, subsampling 2 and 6; b, the same with 256 -> 1024; c, 28 x 28 x 1 -> 50,
patches of 5, subsampling 2. The peer is a CKN in PyTorch that computes the same maps
with the operations of the published code, at its best batch size and memory format,
eager and under ``torch.compile``. All times are medians of alternating runs in one
process. Sections:

- main: time per image, the peers' over ours, and the direct algorithm's operations per
  second in percent of the best float32 matrix product's
- layers: time of each layer
- scaling: from one thread to all
- size: network a on larger images
- memory: beyond the output, in fresh processes
- history: correlations per channel and filter, by SciPy and by four loops

Run with ``python benchmarks/encode.py``; PyTorch is needed.
"""

import argparse
import os
import time
from pathlib import Path

from _timing import processor_name

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
# Memory is first: a process starts with the peak of the one that starts it.
SECTIONS = ("memory", "main", "layers", "scaling", "size", "history")


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", choices=["a", "b", "c"], default=["a", "b", "c"]
    )
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--instruction-set",
        choices=INSTRUCTION_SETS,
        help="force ours to this one; PyTorch obeys ATEN_CPU_CAPABILITY and "
        "ONEDNN_MAX_CPU_ISA in the environment",
    )
    parser.add_argument(
        "--eager-only", action="store_true", help="leave torch.compile out"
    )
    parser.add_argument(
        "--separable",
        action="store_true",
        help="give the peer a separable pooling, which the published code lacks",
    )
    return parser.parse_args()


def describe_machine(arguments):
    """Print what the numbers depend on."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    print(f"{processor_name()}; {arguments.threads} threads")
    print(
        f"ours: instruction set {os.environ.get('SKLEARN_CKN_ISA', 'by the processor')}"
    )
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    kernels = [
        library["architecture"]
        for library in threadpool_info()
        if "numpy" in library["filepath"] and "architecture" in library
    ]
    print(f"NumPy {np.__version__}, OpenBLAS kernel {', '.join(kernels) or 'unknown'}")
    forced = [
        f"{name}={os.environ[name]}"
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        if name in os.environ
    ]
    if forced:
        print(f"   {', '.join(forced)} may slow NumPy's products: unset to be fair")


def busy_seconds():
    """Return the processor time of the machine and of this process so far."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return float("nan"), 0.0
    ticks = [int(field) for field in fields]
    # The fourth and the fifth are idle.
    machine = (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK")
    return machine, sum(os.times()[:4])


def run_section(table, arguments):
    """Print a table, and how much time others took from it: ratios suffer from it.

    A thread waits long for another thread whose core is taken.
    """
    before, start = busy_seconds(), time.perf_counter()
    table(arguments)
    elapsed = time.perf_counter() - start
    machine, own = (b - a for a, b in zip(before, busy_seconds(), strict=True))
    print(
        f"   ({elapsed:.0f} s; other processes had {(machine - own) / elapsed:.2f} "
        "cores on average)",
        flush=True,
    )


def run_sections(arguments):
    """Import and run the sections on the threads asked for."""
    import torch
    from _correlations import history_table
    from _encode_costs import layer_table, memory_table, scaling_table, size_table
    from _encode_speed import main_table
    from threadpoolctl import threadpool_limits

    tables = {
        "memory": memory_table,
        "main": main_table,
        "layers": layer_table,
        "scaling": scaling_table,
        "size": size_table,
        "history": history_table,
    }
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(limits=arguments.threads):
        describe_machine(arguments)
        for section in SECTIONS:
            if section in arguments.sections:
                print()
                run_section(tables[section], arguments)


def main():
    """Choose the instruction set, then load what obeys it."""
    arguments = parse_arguments()
    if arguments.instruction_set:
        # The extension reads it when it is imported, which is later.
        os.environ["SKLEARN_CKN_ISA"] = arguments.instruction_set
    run_sections(arguments)


if __name__ == "__main__":
    main()
