"""The CUDA kernels, compiled for the CPU, against the array code; and by nvcc."""

import shutil
import subprocess

import cuda_on_cpu
import fake_cupy
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from test_engines_agree import dtypes, image_shapes, layer_settings, make_images, seeds

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda_steps import CudaSteps, source
from sklearn_ckn._engine.oracle import ArraySteps, PatchScalars
from sklearn_ckn._network.pooling import pooling_of_maps
from sklearn_ckn._network.settings import LayerSettings

pytestmark = pytest.mark.skipif(
    cuda_on_cpu.compiler() is None, reason="no C++ compiler"
)
ARRAY = ArraySteps()

sum_dtypes = st.sampled_from(["f4", "f8"])

# Patches of 1 x 5 and of 5 x 1 pixels, beside what is drawn.
SIDES = LayerSettings(3, 5, 2, "exp", 1.0, "same", 1e-1)


def along_both_axes(test):
    """Return a test that also runs on signals along the width and along the height."""
    for shape in [(2, 1, 9, 3), (2, 9, 1, 3)]:
        test = example(settings=SIDES, shape=shape, dtype="f8", seed=0)(test)
    return test


@pytest.fixture(scope="module")
def steps():
    """The kernels under test."""
    return CudaSteps(fake_cupy.make_cupy()["cupy"])


def upload(steps, *arrays):
    return [steps._cupy.asarray(array) for array in arrays]


def on_device(steps, scalars):
    return PatchScalars(
        *upload(steps, scalars.norms, scalars.inverse_norms, scalars.offsets)
    )


def make_step(settings, shape, dtype, seed):
    """Return images, the mean of random anchors, patches, scalars and products."""
    images = make_images(shape, dtype, "C", seed)
    length = settings.patch_length(shape[1:])
    rng = np.random.RandomState(seed)
    anchors = unit_rows(rng.randn(settings.n_anchors, length)).astype(dtype)
    mean = anchors.mean(axis=0)
    patches, scalars = ARRAY.unfold(images, mean, settings)
    return images, mean, patches, scalars, patches @ (anchors - mean).T


def close(actual, expected, n_terms, scale):
    """Assert that sums of ``n_terms`` of the size ``scale`` agree to rounding."""
    actual = actual.get()
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    eps = np.finfo(expected.dtype).eps
    error = np.abs(actual.astype("f8") - expected.astype("f8"))
    assert (error <= 2 * n_terms * eps * scale).all()


@along_both_axes
@given(layer_settings, image_shapes, dtypes, seeds)
def test_unfold(steps, settings, shape, dtype, seed):
    images, mean, patches, scalars, _ = make_step(settings, shape, dtype, seed)
    actual_patches, actual = steps.unfold(*upload(steps, images, mean), settings)
    assert_array_equal(actual_patches.get(), patches)
    length = patches.shape[1]
    norms = scalars.norms
    close(actual.norms, norms, length, norms)
    close(actual.inverse_norms, scalars.inverse_norms, length, scalars.inverse_norms)
    close(actual.offsets, scalars.offsets, length, norms * np.linalg.norm(mean))


@given(layer_settings, image_shapes, dtypes, sum_dtypes, seeds)
def test_respond_and_pool(steps, settings, shape, dtype, sum_dtype, seed):
    *_, scalars, products = make_step(settings, shape, dtype, seed)
    shape = (shape[0], *settings.response_shape(shape[1:]))
    arguments = (shape, settings, np.dtype(sum_dtype))
    expected = ARRAY.respond_and_pool(products, scalars, *arguments)
    actual = steps.respond_and_pool(
        *upload(steps, products), on_device(steps, scalars), *arguments
    )
    # Responses of exp and arccos1 are off by the derivative of the kernel times the few
    # roundings of the cosine; sums of them, of weights of sum 1, by as many as there
    # are terms along both axes.
    _, taps = pooling_of_maps(settings.subsampling, shape[1:])
    n_terms = 8 * (1 + max(settings.beta, 4)) + 2 * len(taps)
    eps = np.finfo(min(np.dtype(dtype), np.dtype(sum_dtype), key=lambda d: d.itemsize))
    bound = 2 * n_terms * eps.eps * scalars.norms.max(initial=0)
    assert actual.dtype == sum_dtype
    assert actual.shape == expected.shape
    assert (np.abs(actual.get().astype("f8") - expected) <= bound).all()


@pytest.mark.parametrize("subsampling", [9, 10**6, 2**31 - 1])
@pytest.mark.parametrize("shape", [(2, 4, 6, 2), (2, 1, 1, 2), (2, 1, 9, 2)])
def test_a_stride_beyond_the_map(steps, shape, subsampling):
    """Only the taps that the map has positions for are there."""
    settings = LayerSettings(5, 3, subsampling, "poly", 1.0, "same", 1e-3)
    *_, scalars, products = make_step(settings, shape, "f8", 0)
    arguments = ((shape[0], *settings.response_shape(shape[1:])), settings)
    on_gpu = upload(steps, products), on_device(steps, scalars)
    expected = ARRAY.respond_and_pool(products, scalars, *arguments, np.dtype("f8"))
    actual = steps.respond_and_pool(*on_gpu[0], on_gpu[1], *arguments, np.dtype("f8"))
    # Sums of at most 24 positive numbers, each of a few roundings.
    np.testing.assert_allclose(actual.get(), expected, rtol=100 * np.finfo("f8").eps)
    gradient = np.ones((shape[0], 1, 1, 5))
    expected = ARRAY.differentiate(gradient, products, scalars, *arguments)
    actual = steps.differentiate(
        *upload(steps, gradient), *on_gpu[0], on_gpu[1], *arguments
    )
    for left, right in zip(actual, expected, strict=True):
        atol = 1e-13 * np.abs(right).max()
        np.testing.assert_allclose(left.get(), right, rtol=0, atol=atol)


@given(layer_settings, image_shapes, dtypes, seeds)
def test_differentiate(steps, settings, shape, dtype, seed):
    *_, scalars, products = make_step(settings, shape, dtype, seed)
    pooled_shape = (shape[0], *settings.output_shape(shape[1:]))
    gradient = np.random.RandomState(seed).randn(*pooled_shape).astype(dtype)
    arguments = ((shape[0], *settings.response_shape(shape[1:])), settings)
    expected = ARRAY.differentiate(gradient, products, scalars, *arguments)
    actual = steps.differentiate(
        *upload(steps, gradient, products), on_device(steps, scalars), *arguments
    )
    # The derivatives of the kernels are at most max(beta, 2), their own derivatives at
    # most beta^2 and, of arccos1, 1 / sqrt(1 - u^2), which stays below 1e4 at the
    # cosines of float32 that are not 1.
    largest = np.abs(gradient).max() * max(settings.beta, 2)
    n_terms = 40 * (1 + max(settings.beta, 4))
    if settings.kernel == "arccos1":
        n_terms *= 1e4 if dtype == "f4" else 1e7
    close(actual[0], expected[0], n_terms, largest)
    n_anchors = settings.n_anchors
    close(actual[1], expected[1], n_terms * n_anchors, largest * n_anchors)
    norms = scalars.norms[:, 0] * 2
    close(actual[2], expected[2], n_terms * n_anchors, largest * n_anchors * norms)


@along_both_axes
@given(layer_settings, image_shapes, dtypes, seeds)
def test_fold(steps, settings, shape, dtype, seed):
    images, _, patches, _, _ = make_step(settings, shape, dtype, seed)
    rng = np.random.RandomState(seed)
    gradient = rng.randn(*patches.shape).astype(dtype)
    coefficients = rng.randn(len(patches), 1).astype(dtype)
    expected = ARRAY.fold(gradient, coefficients, images, settings)
    actual = steps.fold(*upload(steps, gradient, coefficients, images), settings)
    n_terms = 4 * settings.patch_size**2
    scale = 5 * settings.patch_size**2 * (1 + np.abs(images))
    close(actual, expected, n_terms, scale)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 30), dtypes, seeds)
def test_sum_groups(steps, n_points, n_groups, length, dtype, seed):
    rng = np.random.RandomState(seed)
    # Small integers: every sum is exact in any order.
    points = rng.randint(-3, 4, size=(n_points, length)).astype(dtype)
    labels = rng.randint(n_groups, size=n_points)
    sums = steps.sum_groups(*upload(steps, points, labels), n_groups)
    assert_array_equal(sums.get(), CPUEngine().sum_groups(points, labels, n_groups))


def test_a_missing_barrier_shows():
    # What runs the kernels here would see the order of threads matter.
    code = (
        'extern "C" __global__ void reverse(float *values) {\n'
        "    __shared__ float shared[4];\n"
        "    shared[threadIdx.x] = values[threadIdx.x];\n"
        "    __syncthreads();\n"
        "    values[threadIdx.x] = shared[3 - threadIdx.x];\n"
        "}\n"
    )
    values = np.arange(4, dtype="f4")
    for text, is_right in ((code, True), (code.replace("__syncthreads();", ""), False)):
        module = fake_cupy.RawModule(code=text, options=("-std=c++17",))
        array = fake_cupy.ndarray(values.copy())
        launch = module.get_function("reverse")
        if is_right:
            launch((1,), (4,), (array,))
            assert_array_equal(array.get(), values[::-1])
        else:
            with pytest.raises(AssertionError):
                launch((1,), (4,), (array,))


@pytest.mark.parametrize("types", [("float", "float"), ("float", "double")])
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_nvcc_compiles_the_kernels(types, tmp_path):
    file = tmp_path / "steps.cu"
    file.write_text(source())
    command = ["nvcc", "-std=c++17", "-ptx", "-Werror", "all-warnings", str(file)]
    names = [f"-DSCALAR={types[0]}", f"-DSUM={types[1]}"]
    output = ["-o", str(tmp_path / "steps.ptx")]
    subprocess.run([*command, *names, *output], check=True)
