"""Memory of the GPU: blocks on their way, limits, and what happens when it runs out."""

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from on_engines import bind, network_of, prepare
from sklearn.base import clone

from sklearn_ckn import CKNClassifier, CKNRegressor, SupervisedCKNClassifier
from sklearn_ckn._common.memory_limits import Budget, fit_in_memory
from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.cuda import CUDAEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._heads.standardize import StandardizedFeatures
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

RNG = np.random.RandomState(0)
SETTINGS = LayerSettings(5, 3, 2, "exp", 2.0, "same", 1e-3)
LAYERS = [Layer.from_anchors(SETTINGS, unit_rows(RNG.randn(5, 18)))]
IMAGES = RNG.randn(11, 6, 6, 2)


@pytest.fixture
def cupy(monkeypatch):
    return fake_cupy.install(monkeypatch)


def blocks():
    rng = np.random.RandomState(0)
    return [rng.randint(256, size=(n, 3, 2)).astype("u1") for n in (4, 4, 7, 4, 1)]


def test_blocks_go_to_the_gpu_and_back(cupy):
    engine = CUDAEngine(cupy)
    arrived = []
    for block in engine.download(each * 2 for each in engine.upload(blocks())):
        arrived.append(block.copy())
    for actual, expected in zip(arrived, blocks(), strict=True):
        assert_array_equal(actual, expected * 2)


def test_a_loop_that_is_left_early(cupy):
    engine = CUDAEngine(cupy)
    for block in engine.download(engine.upload(blocks())):
        assert_array_equal(block, blocks()[0])
        break


def test_blocks_that_are_on_the_gpu_are_not_copied(cupy):
    given = [cupy.asarray(block) for block in blocks()]
    arrived = list(CUDAEngine(cupy).upload(given))
    assert all(left is right for left, right in zip(arrived, given, strict=True))


def test_limits(monkeypatch):
    roomy, tight = (
        CUDAEngine(fake_cupy.install(monkeypatch, **options))
        for options in ({"free_bytes": 2**40}, {"free_bytes": 2**40, "limit": 2**20})
    )
    assert roomy.block_bytes == 2**30
    assert tight.block_bytes == 2**18
    assert roomy.has_room_for(2**30)
    assert tight.has_room_for(2**18)
    assert not tight.has_room_for(2**19)


class SmallMemory:
    """A part of an engine that fails above a number of rows."""

    def __init__(self, function, n_rows):
        self.function = function
        self.n_rows = n_rows
        self.calls = []

    def __call__(self, maps, *args):
        self.calls.append(len(maps))
        if len(maps) > self.n_rows:
            raise fake_cupy.OutOfMemoryError("out of memory")
        return self.function(maps, *args)


@pytest.mark.parametrize("make_engine", [OracleEngine, "cuda"])
def test_encoding_halves_its_parts(make_engine, monkeypatch):
    module = fake_cupy.install(monkeypatch)
    engine = CUDAEngine(module) if make_engine == "cuda" else make_engine()
    expected = bind(engine, LAYERS, IMAGES).maps(IMAGES)
    small = engine._encode_layer = SmallMemory(engine._encode_layer, 3)
    actual = bind(engine, LAYERS, IMAGES).maps(IMAGES)
    # Eleven images, then six, then three at a time.
    assert small.calls == [11, 6, 3, 3, 3, 2]
    assert_allclose(actual, expected, rtol=1e-12)
    if make_engine == "cuda":
        assert module.get_default_memory_pool().n_freed == 2


def test_one_image_too_many(cupy):
    engine = CUDAEngine(cupy)
    engine._encode_layer = SmallMemory(engine._encode_layer, 0)
    with pytest.raises(MemoryError, match="out of memory"):
        bind(engine, LAYERS, IMAGES).maps(IMAGES)


def test_nearest_anchors_in_parts(cupy, monkeypatch):
    points = unit_rows(RNG.randn(20, 4))
    anchors = points[:3]
    whole = OracleEngine().nearest_anchors(points, anchors)
    engine = CUDAEngine(cupy)
    engine.block_bytes = 7 * 3 * 8
    sizes = []
    in_parts = Budget.in_parts

    def watch(*args, **kwargs):
        for rows, result in in_parts(*args, **kwargs):
            sizes.append(rows.stop - rows.start)
            yield rows, result

    monkeypatch.setattr(Budget, "in_parts", watch)
    parts = engine.nearest_anchors(points, anchors)
    assert sizes == [7, 7, 6]
    assert_array_equal(whole[0], parts[0].get())
    # BLAS may add the four products of two unit vectors in another order in a matrix
    # of another shape, either way within four roundings.
    rounding = 4 * np.finfo(points.dtype).eps
    assert_allclose(parts[1].get(), whole[1], rtol=0, atol=2 * rounding)


def test_training_halves_its_parts(cupy, monkeypatch):
    images, labels = np.tile(IMAGES, (3, 1, 1, 1)), np.arange(33) % 2
    parameters = {
        "n_anchors": (4, 5),
        "n_epochs": 2,
        "alpha": 1e-2,
        "early_stopping": False,
        "n_patches": 200,
        "random_state": 0,
        "device": "cuda",
    }
    expected = SupervisedCKNClassifier(**parameters).fit(images, labels)
    encode = CUDAEngine.encode_with_tape
    sizes = []

    def encode_few(engine, images, layers):
        sizes.append(len(images))
        if len(images) > 9:
            raise fake_cupy.OutOfMemoryError("out of memory")
        return encode(engine, images, layers)

    monkeypatch.setattr(CUDAEngine, "encode_with_tape", encode_few)
    actual = SupervisedCKNClassifier(**parameters).fit(images, labels)
    assert sizes[:4] == [33, 17, 9, 9]
    # What did not fit once is not tried again.
    assert max(sizes[3:]) == 9
    assert_allclose(
        actual.history_["objective"], expected.history_["objective"], rtol=1e-9
    )


HEADS_ON_A_GPU = {
    "classifier": CKNClassifier((4, 5), n_patches=200, random_state=0),
    "regressor": CKNRegressor((4, 5), n_patches=200, random_state=0),
    "supervised": SupervisedCKNClassifier(
        (4, 5), n_patches=200, random_state=0, n_epochs=1, validation_fraction=0.5
    ),
    "supervised svm": SupervisedCKNClassifier(
        (4, 5),
        n_patches=200,
        random_state=0,
        n_epochs=1,
        head="linear_svm",
        alpha=1e-2,
        early_stopping=False,
    ),
}


# With fewer images than features, Newton's method works on coordinates, which are few
# and computed where all is.
@pytest.mark.parametrize(
    ("name", "fits"),
    [
        *((name, "nothing") for name in HEADS_ON_A_GPU),
        *((name, "blocks") for name in HEADS_ON_A_GPU if "svm" not in name),
    ],
)
def test_heads_make_room(name, fits, cupy, monkeypatch):
    # More images than the 20 features, and fewer, of which none would be held out.
    estimator = clone(HEADS_ON_A_GPU[name]).set_params(device="cuda")
    for n in (28,) if "supervised" in name else (28, 12):
        images = np.random.RandomState(0).randn(n, 6, 6, 2)
        labels = np.arange(n) % 2
        images[labels == 1, 2:4, 2:4] += 1
        monkeypatch.undo()
        cupy = fake_cupy.install(monkeypatch)
        expected = clone(estimator).fit(images, labels)
        tried = set()

        def fails(method, tried=tried, cupy=cupy):
            def with_little_memory(features, *arguments):
                place = isinstance(features.values, cupy.ndarray), features.xp is cupy
                tried.add(place)
                if place[0] or (fits == "nothing" and place[1]):
                    raise fake_cupy.OutOfMemoryError("out of memory")
                return method(features, *arguments)

            return with_little_memory

        # Every head multiplies features with something.
        for method in (
            "gram",
            "outer_gram",
            "products",
            "raw_transposed_product",
            "transposed_product",
        ):
            function = getattr(StandardizedFeatures, method)
            monkeypatch.setattr(StandardizedFeatures, method, fails(function))
        actual = clone(estimator)
        if fits == "blocks":
            actual.fit(images, labels)
            assert tried == {(True, True), (False, True)}
        else:
            with pytest.warns(UserWarning, match="fitted by the CPU.*out of memory"):
                actual.fit(images, labels)
            assert tried == {(True, True), (False, True), (False, False)}
        # Float64 all the way, and sums in another order: a condition of at most 1e6,
        # the inverse of the smallest alpha of a training.
        assert_allclose(actual.predict(images), expected.predict(images), atol=1e-8)


def test_no_room_on_the_cpu_either(cupy):
    features = [np.ones((2, 2))]

    def fit(values, xp):
        raise MemoryError("nowhere")

    with pytest.raises(MemoryError, match="nowhere"):
        fit_in_memory(fit, features, CPUEngine())


def test_a_tape_is_as_large_as_it_says(cupy):
    # What a tape keeps of an image is no more than what the parts are planned with.
    engine = OracleEngine()
    _, tape = engine.encode_with_tape(IMAGES, prepare(engine, LAYERS, IMAGES))
    kept = sum(
        sum(
            part.nbytes
            for part in (
                each.maps,
                each.products,
                each.pooled,
                *vars(each.scalars).values(),
            )
        )
        for each in tape
    )
    planned = engine.tape_bytes_per_image(network_of(LAYERS, IMAGES), 8)
    assert planned / 8 <= kept / len(IMAGES) <= planned
