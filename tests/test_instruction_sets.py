"""Every instruction set of the machine: accuracy, algorithms, blocks."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from conftest import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_engines import encode
from threadpoolctl import threadpool_limits

from sklearn_ckn import CKNFeatures
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine import cpu as cpu_module
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._engine.packing import best_tile, pack_layer
from sklearn_ckn._ext import _cpu
from sklearn_ckn._network.kernels import KERNELS
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings


def photographs(n, size, seed):
    """Return images with the spectrum of photographs, from 0 to 1."""
    rng = np.random.RandomState(seed)
    rows, columns = np.meshgrid(*2 * (np.fft.fftfreq(size),), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / size)
    waves = np.fft.fft2(rng.randn(n, 3, size, size)) * amplitude
    images = np.fft.ifft2(waves).real.transpose(0, 2, 3, 1)
    images -= images.min(axis=(1, 2, 3), keepdims=True)
    images /= images.max(axis=(1, 2, 3), keepdims=True)
    return np.ascontiguousarray(images, dtype="f4")


def crowd(layer, distance, seed):
    """Return the layer with its anchors drawn together around every eighth of them."""
    rng = np.random.RandomState(seed)
    rows = layer.anchors.astype("f8")
    rows = rows[np.arange(len(rows)) // 8 * 8]
    rows += distance * rng.randn(*rows.shape) / np.sqrt(rows.shape[1])
    return Layer.from_anchors(layer.settings, unit_rows(rows).astype("f4"))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("distance", [None, 0.1, 0.01, 0.001])
def test_two_layers_in_float32(cpu_engine, kernel, distance):
    images = photographs(200, 32, 0)
    features = CKNFeatures((32, 128), kernel=kernel, random_state=0).fit(images)
    layers = features._network.layers
    if distance is not None:
        layers = [crowd(layer, distance, i) for i, layer in enumerate(layers)]
    actual = encode(cpu_engine, images[:20], layers)
    expected = encode(OracleEngine(), images[:20].astype("f8"), layers)
    assert actual.dtype == np.float32
    assert relative_error(actual, expected) < 3e-6


def test_digits_in_float32(cpu_engine, digits):
    images = digits[0][:100, :, :, np.newaxis]
    layers = CKNFeatures((40, 64), random_state=0).fit(images)._network.layers
    actual = encode(cpu_engine, images.astype("f4"), layers)
    expected = encode(OracleEngine(), images.astype("f8"), layers)
    assert relative_error(actual, expected) < 3e-6


def make_layer(n_anchors, n_channels, kernel="exp", distance=None, seed=0, **changes):
    """Return a layer of 3 x 3 patches with random anchors, crowded on demand."""
    rows = np.random.RandomState(seed).randn(n_anchors, 9 * n_channels)
    parameters = {
        "patch_size": 3,
        "subsampling": 2,
        "beta": 2.0,
        "padding": "same",
        "nystrom_reg": 1e-3,
        **changes,
    }
    layer_settings = LayerSettings(n_anchors=n_anchors, kernel=kernel, **parameters)
    layer = Layer.from_anchors(layer_settings, unit_rows(rows))
    return layer if distance is None else crowd(layer, distance, seed)


@settings(max_examples=60)
@given(
    st.integers(1, 140),
    st.integers(32, 70),
    # Patches along an axis of length 1 have side 1, and no tiles.
    st.tuples(st.integers(1, 3), st.integers(2, 13), st.integers(2, 13)),
    st.sampled_from(KERNELS),
    st.sampled_from(["same", "valid"]),
    st.integers(1, 4),
)
def test_winograd_tiles(
    cpu_engine, n_anchors, n_channels, shape, kernel, padding, subsampling
):
    layer = make_layer(
        n_anchors, n_channels, kernel, padding=padding, subsampling=subsampling
    )
    images = np.random.RandomState(1).randn(*shape, n_channels)
    actual = encode(cpu_engine, images, [layer])
    expected = encode(OracleEngine(), images, [layer])
    # In float64 the largest tiles lose three digits at most to their transforms, and
    # the projection one and a half.
    assert relative_error(actual, expected) < 1e-11


@pytest.mark.parametrize("name", _cpu.instruction_sets())
def test_tiles_and_precision_follow_the_anchors(name):
    def packed(dtype="f4", n_channels=32, **parameters):
        layer = make_layer(60, n_channels, **parameters).with_anchors_as(dtype)
        return pack_layer(layer, (16, 16, n_channels), name, 1)

    apart = packed()
    assert apart.forward_sizes["tile"] == 4
    assert not apart.wide
    assert apart.projection.dtype == np.float32
    alike = packed(distance=0.01)
    assert alike.forward_sizes["tile"] == 2
    assert alike.wide
    assert alike.projection.dtype == np.float64
    assert packed(distance=0.01, nystrom_reg=1e-9).forward_sizes["tile"] == 1
    assert packed("f8", distance=0.01, nystrom_reg=1e-9).forward_sizes["tile"] == 4
    assert packed(n_channels=31).forward_sizes["tile"] == 1


@pytest.mark.parametrize(
    ("shape", "max_tile", "tile"),
    [
        ((16, 16), 4, 4),
        ((16, 16), 2, 2),
        ((16, 16), 1, 1),
        ((2, 2), 4, 2),
        ((1, 1), 4, 1),
        ((3, 3), 4, 4),
    ],
)
def test_best_tile(shape, max_tile, tile):
    assert best_tile(*shape, max_tile) == tile


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("scratch", [0, 10**6, 10**8])
def test_the_same_bits_in_any_block(cpu_engine, dtype, scratch, monkeypatch):
    layers = [make_layer(40, 3, seed=1), make_layer(70, 40, seed=2)]
    images = np.random.RandomState(0).randn(19, 13, 10, 3).astype(dtype)
    expected = np.concatenate(
        [encode(cpu_engine, images[i : i + 1], layers) for i in range(len(images))]
    )
    # Blocks of one image, of a few, and of all.
    monkeypatch.setattr(cpu_module, "SCRATCH_BYTES", scratch)
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads):
            assert_array_equal(encode(cpu_engine, images, layers), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((44, 37, 3), [make_layer(90, 3, seed=1), make_layer(70, 90, seed=2)]),
        # Sums in double precision, and no tiles.
        ((44, 37, 3), [make_layer(90, 3, distance=0.01, nystrom_reg=1e-9)]),
        # Rows that are computed in parts.
        ((3, 3000, 2), [make_layer(90, 2, subsampling="global")]),
    ],
)
def test_the_same_bits_where_threads_share_an_image(cpu_engine, dtype, shape, layers):
    images = np.random.RandomState(0).randn(3, *shape).astype(dtype)
    with threadpool_limits(1):
        expected = encode(cpu_engine, images, layers)
    for n_images, n_threads in [(1, 2), (1, 5), (2, 4), (3, 40)]:
        with threadpool_limits(n_threads):
            actual = encode(cpu_engine, images[:n_images], layers)
        assert_array_equal(actual, expected[:n_images])


def test_large_images_go_in_strips(cpu_engine):
    layers = [make_layer(5, 2), make_layer(40, 5)]
    layers.append(make_layer(9, 40, subsampling=1))
    images = np.random.RandomState(0).randn(1, 150, 170, 2)
    actual = encode(cpu_engine, images, layers)
    expected = encode(OracleEngine(), images, layers)
    assert relative_error(actual, expected) < 1e-11


def run_python(code, **environment):
    # -P: the package that is installed, not the sources in the current folder.
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_fastest_set_is_the_default(monkeypatch):
    monkeypatch.delenv("SKLEARN_CKN_ISA", raising=False)
    assert CPUEngine().instruction_set == _cpu.instruction_sets()[0]
    assert _cpu.instruction_sets()[-1] == "baseline"


def test_the_environment_chooses_the_set():
    code = (
        "from sklearn_ckn._engine.cpu import CPUEngine\n"
        "print(CPUEngine().instruction_set)"
    )
    assert run_python(code, SKLEARN_CKN_ISA="baseline").stdout == "baseline\n"
    failed = run_python(code, SKLEARN_CKN_ISA="sse9")
    assert failed.returncode == 1
    assert "SKLEARN_CKN_ISA='sse9' is none of the instruction sets" in failed.stderr


def test_unknown_sets_are_refused():
    with pytest.raises(ValueError, match="no instruction set 'sse9'"):
        _cpu.panel_width("sse9", np.float32)


@pytest.mark.parametrize("name", _cpu.instruction_sets())
@pytest.mark.parametrize(("dtype", "bits"), [("f4", 13), ("f8", 27)])
def test_products_are_added_without_rounding(name, dtype, bits):
    # (1 + e)^2 - (1 + 2 e) is e^2, which is lost if the square is rounded first.
    e = 2.0**-bits
    points = np.array([[-1 - 2 * e, 1 + e]], dtype)
    anchors = np.array([[1, 1 + e]], dtype)
    _, similarity = CPUEngine(name).nearest_anchors(points, anchors)
    if name == "baseline" and platform.machine().lower() in ("x86_64", "amd64"):
        # SSE2 has no such instruction, but a build with -march=native may use one.
        assert similarity[0] in (0, e**2)
    else:
        assert similarity[0] == e**2


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_a_failed_allocation_raises_memory_error():
    code = """
import resource
import numpy as np
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.network import Network
from sklearn_ckn._network.settings import LayerSettings
layer = Layer.from_anchors(
    LayerSettings(2, 3, 8, "exp", 1.0, "same", 1e-3), np.eye(2, 9)
)
images = np.zeros((1, 4000, 4000, 1), "f4")
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 50_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    CPUEngine().bind(Network((layer,), images.shape[1:]), "f4").maps(images)
except MemoryError:
    print("MemoryError")
"""
    result = run_python(code, OMP_NUM_THREADS="1")
    assert result.stdout == "MemoryError\n", result.stderr
