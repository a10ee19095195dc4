"""Memory of the GPU: blocks on their way, limits, and what happens when it runs out."""

import weakref

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ckn import (
    CKNClassifier,
    CKNRegressor,
    LinearPathClassifier,
    RidgePathRegressor,
    SupervisedCKNClassifier,
)
from sklearn_ckn._blocks import encode_block
from sklearn_ckn._engine import ArrayEngine, CPUEngine, CUDAEngine
from sklearn_ckn._layer import Layer, LayerSettings
from sklearn_ckn._norms import unit_rows
from sklearn_ckn._room import fit_in_memory

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
    assert roomy.scratch_bytes == 2**30
    assert tight.scratch_bytes == 2**18
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


@pytest.mark.parametrize("make_engine", [ArrayEngine, "cuda"])
def test_encoding_halves_its_parts(make_engine, monkeypatch):
    module = fake_cupy.install(monkeypatch)
    engine = CUDAEngine(module) if make_engine == "cuda" else make_engine()
    expected = encode_block(IMAGES, LAYERS, engine, np.dtype("f8"))
    small = engine._encode_layer = SmallMemory(engine._encode_layer, 3)
    actual = encode_block(IMAGES, LAYERS, engine, np.dtype("f8"))
    # Eleven images, then six, then three at a time.
    assert small.calls == [11, 6, 3, 3, 3, 2]
    assert_allclose(actual, expected, rtol=1e-12)
    if make_engine == "cuda":
        assert module.get_default_memory_pool().n_freed == 2


def test_one_image_too_many(cupy):
    engine = CUDAEngine(cupy)
    engine._encode_layer = SmallMemory(engine._encode_layer, 0)
    with pytest.raises(MemoryError, match="out of memory"):
        encode_block(IMAGES, LAYERS, engine, np.dtype("f8"))


def test_nearest_anchors_in_parts(cupy, monkeypatch):
    points = unit_rows(RNG.randn(20, 4))
    anchors = points[:3]
    whole = ArrayEngine().nearest_anchors(points, anchors)
    engine = CUDAEngine(cupy)
    engine.scratch_bytes = 7 * 3 * 8
    sizes = []
    in_parts = engine.in_parts
    monkeypatch.setattr(
        engine,
        "in_parts",
        lambda n, rows, run: in_parts(n, rows, lambda s: sizes.append(s) or run(s)),
    )
    parts = engine.nearest_anchors(points, anchors)
    assert len(sizes) == 3
    for left, right in zip(whole, parts, strict=True):
        assert_array_equal(left, right.get())


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
    assert sizes[:4] == [33, 16, 8, 8]
    # What did not fit once is not tried again.
    assert max(sizes[3:]) == 8
    assert_allclose(
        actual.history_["objective"], expected.history_["objective"], rtol=1e-9
    )


@pytest.mark.parametrize("name", ["classifier", "regressor", "supervised"])
@pytest.mark.parametrize("fits", ["blocks", "nothing"])
def test_heads_make_room(name, fits, cupy, monkeypatch):
    y = np.arange(11) % 2
    estimator = {
        "classifier": CKNClassifier((4, 5), n_patches=200, random_state=0),
        "regressor": CKNRegressor((4, 5), n_patches=200, random_state=0),
        "supervised": SupervisedCKNClassifier(
            (4, 5), n_patches=200, random_state=0, n_epochs=0
        ),
    }[name]
    expected = estimator.set_params(device="cuda").fit(IMAGES, y).predict(IMAGES)
    head = RidgePathRegressor if name == "regressor" else LinearPathClassifier
    fit, tried = head._fit, []

    def fit_little(self, X, y, xp, **held_out):
        tried.append((isinstance(X, cupy.ndarray), xp is cupy))
        if tried[-1][0] or (fits == "nothing" and tried[-1][1]):
            raise fake_cupy.OutOfMemoryError("out of memory")
        return fit(self, X, y, xp, **held_out)

    monkeypatch.setattr(head, "_fit", fit_little)
    if fits == "blocks":
        estimator.fit(IMAGES, y)
        assert tried == [(True, True), (False, True)]
    else:
        with pytest.warns(UserWarning, match="fitted by the CPU.*out of memory"):
            estimator.fit(IMAGES, y)
        assert tried == [(True, True), (False, True), (False, False)]
    assert_allclose(estimator.predict(IMAGES), expected, atol=1e-6)


def test_no_room_on_the_cpu_either(cupy):
    features = [np.ones((2, 2))]

    def fit(values, xp):
        raise MemoryError("nowhere")

    with pytest.raises(MemoryError, match="nowhere"):
        fit_in_memory(fit, features, CPUEngine())


class Array:
    """Something that weak references can point to."""


def test_memory_is_gone_before_the_next_try(cupy, monkeypatch):
    # While an exception is handled its traceback holds the arrays of the failed try.
    engine = CUDAEngine(cupy)
    references = []

    def run(rows):
        array = Array()
        references.append(weakref.ref(array))
        if rows.stop - rows.start > 1:
            raise MemoryError

    alive = []
    monkeypatch.setattr(
        engine,
        "release_memory",
        lambda: alive.extend(reference() for reference in references),
    )
    engine.in_parts(2, 2, run)
    assert alive == [None]


def test_a_tape_is_as_large_as_it_says(cupy):
    # What a tape keeps of an image is no more than what the parts are planned with.
    engine = ArrayEngine()
    _, tape = engine.encode_with_tape(IMAGES, LAYERS)
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
        for _, each in tape
    )
    rows = engine.tape_rows(IMAGES.shape[1:], LAYERS, 8)
    assert rows * kept / len(IMAGES) <= engine.tape_bytes
    assert rows * kept / len(IMAGES) >= engine.tape_bytes / 8
