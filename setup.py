"""Build of the Cython extension; everything else is in pyproject.toml."""

import os
import sys
from glob import glob
from pathlib import Path

from Cython.Distutils import Extension, build_ext
from setuptools import setup

# The kernels are C, one source file an instruction set; the others are Cython alone.
KERNELS = ["_ext/dispatch.c", *sorted(glob("_ext/set_*.c"))]
SOURCES = {
    "_callers": [],
    "_cpu": KERNELS,
    "_openmp": [],
    "_patches": [],
    "_scaling": [],
    "_team": ["_ext/team.c"],
}
HEADERS = sorted(path for end in ("h", "pxd", "pxi") for path in glob(f"_ext/*.{end}"))

# Products are added without being rounded first where the processor can: by default
# GCC does so only in its own dialect of C, which a distribution's CFLAGS may change.
# Nothing reads floating-point exceptions, errno of the C library or the sign of
# zero, which otherwise keep comparisons and square roots out of vector loops.
VECTOR_ARGS = [
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-signed-zeros",
    "-fno-trapping-math",
]

if sys.platform == "win32":
    COMPILE_ARGS, LINK_ARGS = ["/O2", "/openmp", "/std:c11"], []
else:
    # Vectors wider than the baseline's are never passed between object files.
    COMPILE_ARGS, LINK_ARGS = ["-O3", "-Wno-psabi", *VECTOR_ARGS], []
    # Python's own flags ask for what a debugger reads, most of the size of a wheel.
    if "-g" not in os.environ.get("CFLAGS", "").split():
        COMPILE_ARGS.append("-g0")
    # Apple's Clang has no OpenMP of its own: CPPFLAGS and LDFLAGS bring it or not.
    if sys.platform != "darwin":
        COMPILE_ARGS.append("-fopenmp")
        LINK_ARGS.append("-fopenmp")


class BuildExtension(build_ext):
    """Builds the kernels by clang-cl under Windows, if the variable CC names it.

    Microsoft's compiler, which setuptools always takes, has no vector extensions. It
    still compiles what Cython writes, and with it comes the OpenMP that is linked.
    """

    def build_extension(self, ext):
        """Build an extension, with the kernels as objects that are only linked."""
        clang = os.environ.get("CC", "")
        if sys.platform == "win32" and Path(clang).stem == "clang-cl":
            ext.extra_objects = [
                self.compile_by_clang(clang, source)
                for source in ext.sources
                if source in KERNELS
            ]
            ext.sources = [source for source in ext.sources if source not in KERNELS]
        super().build_extension(ext)

    def compile_by_clang(self, clang, source):
        """Compile one source and return the path of the object."""
        target = Path(self.build_temp) / Path(source).with_suffix(".obj")
        target.parent.mkdir(parents=True, exist_ok=True)
        options = ["/nologo", "/c", "/O2", "/MD", "/DNDEBUG", "/I_ext"]
        options += [f"/clang:{argument}" for argument in VECTOR_ARGS]
        self.spawn([clang, *options, f"/Fo{target}", f"/Tc{source}"])
        return str(target)


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
    cmdclass={"build_ext": BuildExtension},
)
