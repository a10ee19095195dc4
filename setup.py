"""Build of the Cython extension; everything else is in pyproject.toml."""

import sys
from glob import glob

from Cython.Distutils import Extension, build_ext
from setuptools import setup

# The kernels are C, one source file an instruction set; the others are Cython alone.
KERNELS = ["_ext/dispatch.c", *sorted(glob("_ext/set_*.c"))]
SOURCES = {"_callers": [], "_cpu": KERNELS, "_openmp": [], "_patches": []}
HEADERS = sorted(path for end in ("h", "pxd", "pxi") for path in glob(f"_ext/*.{end}"))

# Products are added without being rounded first where the processor can: by default
# GCC does so only in its own dialect of C, which a distribution's CFLAGS may change.
# Nothing reads floating-point exceptions, errno of the C library or the sign of
# zero, which otherwise keep comparisons and square roots out of vector loops.
# Vectors wider than the baseline's are never passed between object files.
VECTOR_ARGS = [
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-Wno-psabi",
]

if sys.platform == "win32":
    COMPILE_ARGS, LINK_ARGS = ["/O2", "/openmp", "/std:c11"], []
elif sys.platform == "darwin":
    # Apple's compiler has no OpenMP: the extension then runs on one thread.
    COMPILE_ARGS, LINK_ARGS = ["-O3", *VECTOR_ARGS], []
else:
    COMPILE_ARGS, LINK_ARGS = ["-O3", "-fopenmp", *VECTOR_ARGS], ["-fopenmp"]

setup(
    ext_modules=[
        Extension(
            f"sklearn_ckn._ext.{name}",
            [f"_ext/{name}.pyx", *sources],
            depends=HEADERS,
            include_dirs=["_ext"],
            cython_include_dirs=["_ext"],
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=LINK_ARGS,
        )
        for name, sources in SOURCES.items()
    ],
    cmdclass={"build_ext": build_ext},
)
