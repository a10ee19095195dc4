"""A GPU of little memory, libraries that fail, and other GPUs: with the stand-in."""

import sys
import warnings
from importlib import import_module

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import bind
from sklearn import config_context
from test_device import IMAGES, LABELS, ROWS, assert_same_results, data, new, results

from sklearn_ckn import (
    CKNFeatures,
    PatchWhitening,
    SupervisedCKNClassifier,
)
from sklearn_ckn._common.arrays import cholesky_solver, eigh
from sklearn_ckn._common.norms import square_sums, unit_rows
from sklearn_ckn._engine import cuda_steps
from sklearn_ckn._engine.choice import get_engine
from sklearn_ckn._engine.cuda import CUDAEngine
from sklearn_ckn._engine.cuda_steps import CudaSteps
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._network.kernels import InverseSquareRoot
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

RNG = np.random.RandomState(0)
SETTINGS = LayerSettings(5, 3, 2, "exp", 2.0, "same", 1e-3)
LAYERS = [Layer.from_anchors(SETTINGS, unit_rows(RNG.randn(5, 18)))]
MANY = RNG.randn(100, 8, 8, 2)


def encoder(engine, layers=LAYERS):
    return bind(engine, layers, MANY)


@pytest.fixture
def cupy(monkeypatch):
    return fake_cupy.install(monkeypatch)


@pytest.fixture
def memory(monkeypatch):
    """The memory of the stand-in, whose limit a test may set."""
    monkeypatch.setattr(fake_cupy.Memory, "limit", sys.maxsize)
    monkeypatch.setattr(fake_cupy.Memory, "peak", fake_cupy.Memory.in_use)
    return fake_cupy.Memory


@pytest.mark.parametrize("on_gpu", [False, True])
def test_encoding_with_little_memory(on_gpu, cupy, memory):
    # The GPU claims 8 GiB, so that the first blocks are far too large: images on their
    # way, copies of another dtype, scaled copies and results fail as patches do.
    engine = CUDAEngine(cupy)
    expected = encoder(engine).maps(MANY)
    images = MANY.astype("f4")
    images = cupy.asarray(images) if on_gpu else images
    expected = encoder(engine).maps(images.astype("f8"))
    room = len(MANY) * expected[0].nbytes if on_gpu else 0
    sizes = set()
    for n_images in (20, 8, 3):
        memory.limit = memory.in_use + room + n_images * 25_000
        blocks = encoder(CUDAEngine(cupy)).blocks(images, cupy if on_gpu else np)
        found = []
        for rows, maps in blocks:
            sizes.add(rows.stop - rows.start)
            found.append(maps.get() if on_gpu else maps.copy())
            del maps
        memory.limit = sys.maxsize
        whole = expected.get() if on_gpu else expected
        assert_allclose(np.concatenate(found), whole, rtol=1e-12)
    assert len(sizes) >= 3


def test_whitening_with_little_memory(cupy, memory):
    images = cupy.asarray(MANY)
    whitening = PatchWhitening().fit(images)
    expected = whitening.transform(images).get()
    # Beside the result, for the patches of some images; all patches of all images
    # together take 17 times as much as the result.
    memory.limit = memory.in_use + 3 * images._host.nbytes
    again = PatchWhitening().fit(images)
    assert cupy.get_default_memory_pool().n_freed > 0
    # A GPU adds the images of a block in an order of its own.
    assert_allclose(again.whitening_, whitening.whitening_, rtol=1e-10)
    assert_allclose(again.transform(images).get(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["features", "ridge", "regressor", "supervised"])
def test_estimators_with_little_memory(name, cupy, memory):
    # Half of what a fit takes at most: whatever the step at which memory runs out, the
    # fit and the predictions are those of much memory.
    X, y = data(name)
    X = np.tile(X, (2, 1, 1, 1)) + 1e-3 * RNG.randn(40, *X.shape[1:])
    y = np.tile(y, 2)
    expected = results(new(name, device="cuda").fit(X, y), X)
    before = memory.peak = memory.in_use
    new(name, device="cuda").fit(X, y)
    memory.limit = before + (memory.peak - before) // 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* by the CPU, since its arrays")
        model = new(name, device="cuda").fit(X, y)
    actual = results(model, X)
    memory.limit = sys.maxsize
    assert_same_results(expected, actual)


def test_blocks_are_those_of_the_gpu(monkeypatch):
    sizes = {}
    for name, free_bytes in {"large": 2**33, "small": 2**20}.items():
        engine = CUDAEngine(fake_cupy.install(monkeypatch, free_bytes=free_bytes))
        # A setting for the memory of the CPU, which allows a single image.
        with config_context(working_memory=1e-3):
            blocks = encoder(engine).blocks(MANY, np)
            sizes[name] = [rows.stop - rows.start for rows, _ in blocks]
        assert engine.block_bytes == min(free_bytes // 4, 2**30)
    assert sizes["large"] == [100]
    assert 1 < max(sizes["small"]) < 50


def test_blocks_on_their_way_are_small(cupy, monkeypatch):
    assert 2**26 <= CUDAEngine.transfer_bytes <= 2**27
    monkeypatch.setattr(CUDAEngine, "transfer_bytes", 10 * MANY[0].nbytes)
    blocks = encoder(CUDAEngine(cupy)).blocks(MANY, np)
    assert {rows.stop - rows.start for rows, _ in blocks} == {10}
    # Without layers the images are all there is.
    blocks = encoder(CUDAEngine(cupy), []).blocks(MANY, np)
    assert {rows.stop - rows.start for rows, _ in blocks} == {10}


def test_pinned_memory_that_is_refused(monkeypatch):
    cupy = fake_cupy.install(monkeypatch, pinned_bytes=2**14)
    with pytest.raises(fake_cupy.CUDARuntimeError):
        import_module("cupyx").empty_pinned(MANY.nbytes, "u1")
    actual = encoder(CUDAEngine(cupy)).maps(MANY)
    expected = encoder(get_engine("cpu")).maps(MANY)
    assert_allclose(actual, expected, rtol=1e-10)


def test_pinned_buffers_have_few_sizes(cupy, monkeypatch):
    cupyx, sizes = import_module("cupyx"), []
    empty = cupyx.empty_pinned

    def watch(n_bytes, dtype):
        sizes.append(n_bytes)
        return empty(n_bytes, dtype)

    monkeypatch.setattr(cupyx, "empty_pinned", watch)
    engine = CUDAEngine(cupy)
    for n in range(1, 40):
        encoder(engine).maps(MANY[:n])
    assert len(sizes) >= 78
    # CuPy keeps a buffer for requests of its own size alone.
    assert len(set(sizes)) <= 12
    assert all(size & (size - 1) == 0 for size in sizes)


def test_pinned_memory_is_given_back(cupy):
    CUDAEngine(cupy).release_memory()
    assert cupy.get_default_memory_pool().n_freed == 1
    assert cupy.get_default_pinned_memory_pool().n_freed == 1


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sums_of_squares_take_one_array(dtype, cupy, memory):
    rows = cupy.asarray(RNG.randn(200, 50).astype(dtype))
    before = memory.peak = memory.in_use
    sums = square_sums(rows)
    # That of the squares in float64, and the sums.
    assert memory.peak - before <= 8 * rows.size + 2 * sums.nbytes
    assert_allclose(
        sums.get(), np.einsum("ij,ij->i", rows.get(), rows.get(), dtype="f8")
    )


def test_sums_of_squares_of_any_unit(cupy):
    rows = np.array([[1e30, 2e30], [1e-30, 2e-30]], dtype="f4")
    assert_allclose(square_sums(cupy.asarray(rows)).get(), [5e60, 5e-60], rtol=1e-6)


def test_the_cpu_learns_a_layer_that_the_gpu_has_no_room_for(cupy, monkeypatch):
    expected = new("features").fit(IMAGES)
    tried = []

    def fail(engine, points, anchors):
        tried.append(len(points))
        raise fake_cupy.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

    monkeypatch.setattr(CUDAEngine, "nearest_anchors", fail)
    for X in (IMAGES, cupy.asarray(IMAGES)):
        with pytest.warns(UserWarning, match="layer is learned by the CPU.*of the GPU"):
            model = new("features", device="cuda").fit(X)
        for left, right in zip(model.anchors_, expected.anchors_, strict=True):
            assert_array_equal(left, right)
    assert len(tried) == 4


@pytest.mark.parametrize("n_failures", [1, 2])
def test_heads_whose_libraries_run_out_of_memory(n_failures, cupy, monkeypatch):
    expected = results(new("ridge").fit(IMAGES, LABELS), IMAGES)
    gram, failures = StandardizedFeatures.outer_gram, []

    def fail(features):
        if features.xp is cupy and len(failures) < n_failures:
            failures.append(type(features.values))
            raise RuntimeError("CUSOLVER_STATUS_ALLOC_FAILED")
        return gram(features)

    monkeypatch.setattr(StandardizedFeatures, "outer_gram", fail)
    model = new("ridge", device="cuda")
    if n_failures == 1:
        model.fit(IMAGES, LABELS)
    else:
        with pytest.warns(UserWarning, match="head is fitted by the CPU.*ALLOC_FAILED"):
            model.fit(IMAGES, LABELS)
    assert failures == [cupy.ndarray, np.ndarray][:n_failures]
    assert_same_results(expected, results(model, IMAGES))


def test_batches_are_copied_while_others_are_worked_on(cupy, monkeypatch):
    upload, blocks = CUDAEngine.upload, []

    def watch(engine, given):
        def note():
            for block in given:
                blocks.append((type(block), block.dtype.char, len(block)))
                yield block

        return upload(engine, note())

    monkeypatch.setattr(CUDAEngine, "upload", watch)
    X = (40 * np.abs(IMAGES)).astype("u1")
    model = SupervisedCKNClassifier(
        4,
        n_patches=100,
        n_epochs=1,
        alpha=1e-2,
        batch_size=5,
        random_state=0,
        early_stopping=False,
        device="cuda",
    )
    expected = model.fit(X, LABELS).history_["objective"]
    blocks.clear()
    # Images that stay in NumPy.
    monkeypatch.setattr(CUDAEngine, "has_room_for", lambda self, n_bytes: False)
    # In the dtype that they have.
    actual = model.fit(X, LABELS).history_["objective"]
    assert blocks.count((np.ndarray, "B", 5)) == 4
    assert_allclose(actual, expected, rtol=1e-6)


def test_kernels_are_loaded_once(cupy, monkeypatch):
    loaded, load = [], cupy.RawModule

    def watch(*, code, options):
        loaded.append(options)
        return load(code=code, options=options)

    monkeypatch.setattr(cupy, "RawModule", watch)
    features = CKNFeatures(4, n_patches=100, random_state=0, device="cuda")
    features.fit(IMAGES).transform(IMAGES)
    features.transform(IMAGES)
    assert len(loaded) == len(set(loaded)) > 0
    # Another device has a module of its own.
    with cupy.cuda.Device(1):
        points, labels = cupy.asarray(ROWS), cupy.asarray(LABELS)
        CudaSteps(cupy).sum_groups(points, labels, 2)
    assert len(loaded) == len(set(loaded)) + 1
    assert cuda_steps.load_module.cache_info().currsize >= 2


def test_names_of_processors(cupy, monkeypatch):
    def name():
        return CUDAEngine(cupy).name

    names = [name()]
    assert "Stand-in" in names[0]
    monkeypatch.setenv("CUPY_TF32", "1")
    names.append(name())
    monkeypatch.setattr(cupy, "__version__", "15.0")
    names.append(name())
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "120")
    names.append(name())
    monkeypatch.setattr(
        cupy.cuda.runtime, "getDeviceProperties", lambda device: {"name": b"Other"}
    )
    names.append(name())
    monkeypatch.setattr(cupy.cuda.runtime, "runtimeGetVersion", lambda: 14000)
    names.append(name())
    assert len(set(names)) == len(names)


def test_the_stand_in_is_as_silent_as_cusolver(cupy):
    indefinite = cupy.asarray(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert np.isfinite(cupy.linalg.cholesky(indefinite).get()).all()


def test_decompositions_that_fail(cupy):
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_solver(cupy.asarray(np.array([[1.0, 2.0], [2.0, 1.0]])))
    with pytest.raises(np.linalg.LinAlgError):
        eigh(cupy.asarray(np.full((3, 3), np.nan)))
    with pytest.raises(np.linalg.LinAlgError, match="NaN or infinity"):
        cholesky_solver(cupy.asarray(np.full((1, 1), np.inf)))
    matrix = np.array([[4.0, 1.0], [1.0, 3.0]])
    solution = cholesky_solver(cupy.asarray(matrix))(cupy.asarray(np.ones(2)))
    assert_allclose(matrix @ solution.get(), 1)


def test_the_inverse_root_is_symmetric(cupy, monkeypatch):
    matrix = np.cov(RNG.randn(6, 20))
    product = fake_cupy.ndarray.__matmul__

    def uneven(left, right):
        # As cuBLAS, which computes the two triangles each for itself.
        result = product(left, right)
        return result + cupy.asarray(np.triu(np.full(result.shape, 1e-15), 1))

    monkeypatch.setattr(fake_cupy.ndarray, "__matmul__", uneven)
    (root,) = InverseSquareRoot.from_matrices([cupy.asarray(matrix)], [1e-3])
    root = root.value().get()
    assert_array_equal(root, root.T)
    assert_allclose(root @ (matrix + 1e-3 * np.eye(6)) @ root, np.eye(6), atol=1e-10)


@pytest.mark.parametrize("library", ["cublas", "cusolver"])
def test_an_array_on_a_gpu_whose_library_is_missing(library, monkeypatch):
    fitted = new("ridge", device="auto").fit(IMAGES, LABELS)
    cupy = fake_cupy.install(monkeypatch, missing=(library,))
    X = cupy.asarray(IMAGES)
    for compute in (
        lambda: new("features", device="auto").fit(X),
        lambda: new("kmeans", device="auto").fit(cupy.asarray(ROWS)),
        lambda: fitted.predict(X),
    ):
        with pytest.raises(ImportError, match=library):
            compute()
    # What is not on a GPU is computed by the CPU.
    assert_array_equal(fitted.predict(IMAGES), fitted.predict(IMAGES.copy()))
