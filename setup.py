"""Build of the Cython extension; everything else is in pyproject.toml."""

import sys

from Cython.Distutils import Extension, build_ext
from setuptools import setup

MODULES = ("_clusters", "_encode", "_gradients", "_openmp", "_patches")
HEADERS = (
    "_ext/layer_geometry.pxd",
    "_ext/matrix_products.pxd",
    "_ext/openmp_shim.h",
    "_ext/patch_copies.pxd",
    "_ext/pooling.pxd",
    "_ext/vector_loops.h",
    "_ext/vector_loops.pxd",
    "_ext/vector_loops_template.h",
)

# Nothing reads floating-point exceptions, errno of the C library or the sign of
# zero, which otherwise keep comparisons and square roots out of vector loops.
VECTOR_ARGS = ["-fno-math-errno", "-fno-signed-zeros", "-fno-trapping-math"]

if sys.platform == "win32":
    COMPILE_ARGS, LINK_ARGS = ["/O2", "/openmp"], []
elif sys.platform == "darwin":
    # Apple's compiler has no OpenMP: the extension then runs on one thread.
    COMPILE_ARGS, LINK_ARGS = ["-O3", *VECTOR_ARGS], []
else:
    COMPILE_ARGS, LINK_ARGS = ["-O3", "-fopenmp", *VECTOR_ARGS], ["-fopenmp"]

setup(
    ext_modules=[
        Extension(
            f"sklearn_ckn._ext.{name}",
            [f"_ext/{name}.pyx"],
            depends=list(HEADERS),
            include_dirs=["_ext"],
            cython_include_dirs=["_ext"],
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=LINK_ARGS,
        )
        for name in MODULES
    ],
    cmdclass={"build_ext": build_ext},
)
