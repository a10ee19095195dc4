"""CUDA kernels compiled by the C++ compiler, run thread by thread on the CPU."""

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)', re.DOTALL)
BODY = re.compile(r'extern "C" __global__ void (\w+)(.*?)\n}\n', re.DOTALL)

C_TYPES = {"float": ctypes.c_float, "double": ctypes.c_double}


def compiler():
    """Return the C++ compiler, or None."""
    return shutil.which(os.environ.get("CXX", "c++"))


def kernel_parameters(source):
    """Return the parameter lists of all kernels, by their names."""
    return {
        name: [" ".join(each.split()) for each in parameters.split(",")]
        for name, parameters in KERNEL.findall(source)
    }


def _launcher(name, parameters, body):
    """Return C++ code that runs a kernel over a grid."""
    names = [re.findall(r"\w+", each)[-1] for each in parameters]
    waits = "sum_lanes" in body or "__syncthreads" in body
    return (
        f'extern "C" void launch_{name}(unsigned grid, unsigned x, unsigned y, '
        f"int descending, {', '.join(parameters)}) "
        f"{{ fibers::launch{'' if waits else '_alone'}({{grid, 1, 1}}, {{x, y, 1}}, "
        f"descending, [&] {{ {name}({', '.join(names)}); }}); }}\n"
    )


@cache
def load(source, options):
    """Compile CUDA source and return the library; skip a test without a compiler."""
    if compiler() is None:
        pytest.skip("no C++ compiler")
    folder = Path(tempfile.mkdtemp(prefix="cuda_on_cpu_"))
    bodies = dict(BODY.findall(source))
    launchers = [
        _launcher(name, parameters, bodies[name])
        for name, parameters in kernel_parameters(source).items()
    ]
    code = folder / "kernels.cpp"
    shim = Path(__file__).with_name("cuda_shim.h")
    code.write_text("\n".join([f'#include "{shim}"', source, *launchers]))
    library = folder / "kernels.so"
    command = [
        compiler(),
        "-O2",
        "-U_FORTIFY_SOURCE",
        "-fPIC",
        "-shared",
        "-Wall",
        "-Werror",
        "-Wno-unused-function",
        "-Wno-unused-function",
        *options,
    ]
    subprocess.run([*command, str(code), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    shutil.rmtree(folder)
    return loaded


class Kernel:
    """A kernel, called as those of ``cupy.RawModule`` are.

    Every launch runs twice, with the threads of a block in both orders, and both must
    write the same.
    """

    def __init__(self, library, name, parameters, options):
        self._function = getattr(library, f"launch_{name}")
        self._parameters = parameters
        self._names = dict(option[2:].split("=") for option in options if "=" in option)

    def _argument(self, parameter, value):
        """Return a value as what the parameter's C type wants; check that it is."""
        *words, _ = parameter.replace("*", " * ").split()
        is_pointer = "*" in words
        c_type = " ".join(word for word in words if word not in ("const", "*"))
        c_type = self._names.get(c_type, c_type)
        wanted = {
            "float": np.float32,
            "double": np.float64,
            "int": np.int32,
            "long long": np.int64,
        }[c_type]
        assert value.dtype == wanted, parameter
        if not is_pointer:
            assert isinstance(value, np.generic), parameter
            return np.ctypeslib.as_ctypes_type(wanted)(value.item())
        assert value.flags.c_contiguous, parameter
        return ctypes.c_void_p(value.ctypes.data)

    def run(self, grid, block, values):
        """Run the grid; ``values`` are NumPy arrays and scalars."""
        (grid,) = grid
        block = (*block, 1)[:2]
        assert grid > 0
        arguments = [
            self._argument(*pair) for pair in zip(self._parameters, values, strict=True)
        ]
        outputs = [
            value
            for parameter, value in zip(self._parameters, values, strict=True)
            if "*" in parameter and "const" not in parameter
        ]
        before = [output.copy() for output in outputs]
        self._function(grid, *block, 1, *arguments)
        descending = [output.copy() for output in outputs]
        for output, old in zip(outputs, before, strict=True):
            output[...] = old
        self._function(grid, *block, 0, *arguments)
        for output, other in zip(outputs, descending, strict=True):
            np.testing.assert_array_equal(output, other)
