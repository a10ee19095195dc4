"""Encoding on the CPU: speed against its peers and matrix products, and where it goes.

Networks, with random anchors, on images of noise: a, 32 x 32 x 3 -> 64 -> 256 anchors,
patches of 3, subsampling 2 and 6; b, the same with 256 -> 1024; c, 28 x 28 x 1 -> 50,
patches of 5, subsampling 2. The peer is a CKN in PyTorch that computes the same maps
with the operations of the published code: eager and under ``torch.compile``, at its
best memory format, and exported to ONNX, in ONNX Runtime (all optimizations of the
graph) and in OpenVINO (in float32; for latency, and with as many streams as threads).
Each has its best batch size. Before they are timed, their maps are compared with ours.
Every engine has a process of its own; they are timed in turn while the others sleep,
and times are medians. Sections:

- main: time per image, the peers' over ours, and the direct algorithm's operations per
  second in percent of the best float32 matrix product's
- contention: network a while another process keeps a core busy
- layers: time of each layer
- scaling: from one thread to all
- size: network a on larger images
- memory: beyond the output, in fresh processes
- history: correlations per channel and filter, by SciPy and by four loops

Run with ``python benchmarks/encode.py``. What is not installed is left out: torch,
onnx, onnxscript, onnxruntime, openvino. One network and number of threads of the main
section takes one to three minutes.
"""

import argparse
import os
import time
from pathlib import Path

from _timing import processor_name

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
# Memory is first: a process starts with the peak of the one that starts it.
SECTIONS = ("memory", "main", "contention", "layers", "scaling", "size", "history")


def parse_arguments():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", choices=["a", "b", "c"], default=["a", "b", "c"]
    )
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[1, 2],
        help="the sections after contention, and memory, use the most of them",
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--instruction-set",
        choices=INSTRUCTION_SETS,
        help="force ours to this one; in the environment, PyTorch obeys "
        "ATEN_CPU_CAPABILITY, and PyTorch and OpenVINO obey ONEDNN_MAX_CPU_ISA",
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="leave torch.compile out"
    )
    parser.add_argument(
        "--busy",
        type=int,
        default=0,
        help="number of cores that other processes keep busy in the main section",
    )
    parser.add_argument(
        "--separable",
        action="store_true",
        help="give the peers a separable pooling, which the published code lacks",
    )
    return parser.parse_args()


def describe_machine():
    """Print what the numbers depend on; the engines of processes print their own."""
    from _encode_engines import describe_numpy

    from sklearn_ckn._engine.cpu import choose_instruction_set

    print(f"{processor_name()}; {os.cpu_count()} cores")
    print(f"ours: instruction set {choose_instruction_set()}")
    print(describe_numpy())
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
    from _contention import contention_table
    from _correlations import history_table
    from _encode_costs import layer_table, memory_table, scaling_table, size_table
    from _encode_speed import main_table
    from threadpoolctl import threadpool_limits

    tables = {
        "memory": memory_table,
        "main": main_table,
        "contention": contention_table,
        "layers": layer_table,
        "scaling": scaling_table,
        "size": size_table,
        "history": history_table,
    }
    with threadpool_limits(limits=max(arguments.threads)):
        describe_machine()
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
