"""What the compiled kernels refuse: arrays that do not fit would be left by them."""

from dataclasses import replace

import numpy as np
import pytest

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._engine.packing import pack_layer
from sklearn_ckn._ext import _cpu, _patches
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

SET = _cpu.instruction_sets()[0]
SHAPE = (9, 8, 32)
N_BLOCK = 2


def packed(shape=SHAPE, n_anchors=5, dtype="f4", name=SET, **settings):
    """Return a packed layer whose patches go through Winograd's algorithm."""
    parameters = {
        "patch_size": 3,
        "subsampling": 2,
        "kernel": "exp",
        "beta": 1.0,
        "padding": "same",
        "nystrom_reg": 0.1,
        **settings,
    }
    length = parameters["patch_size"] ** 2 * shape[2]
    anchors = unit_rows(np.random.RandomState(0).randn(n_anchors, length))
    layer = Layer.from_anchors(LayerSettings(n_anchors, **parameters), anchors)
    return pack_layer(layer.with_anchors_as(dtype), shape, name, 1, gradients="all")


def layers_of(*layers, dtype="f4", name=SET):
    return _cpu.PackedLayers(layers or [packed()], dtype, name)


def test_what_was_packed_for_other_sets_is_refused():
    widths = {name: _cpu.panel_width(name, "f4") for name in _cpu.instruction_sets()}
    for name, width in widths.items():
        for other, other_width in widths.items():
            if width == other_width:
                layers_of(packed(name=other), name=name)
            else:
                with pytest.raises(ValueError, match=r"anchors must be .* of shape"):
                    layers_of(packed(name=other), name=name)
    with pytest.raises(ValueError, match="no instruction set 'sse9'"):
        layers_of(packed(), name="sse9")


@pytest.mark.parametrize(
    "name", ["anchors", "direct_anchors", "flipped", "mean", "projection", "taps"]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[..., :-1],
        lambda array: np.asfortranarray(np.repeat(array[..., None], 2, -1))[..., 0],
        lambda array: array.astype("f2"),
    ],
    ids=["shape", "strides", "dtype"],
)
def test_arrays_of_layers(name, change):
    layer = packed()
    assert layer.forward_sizes["tile"] > 1
    array = change(getattr(layer, name))
    if array.ndim == 1 and array.flags.c_contiguous and array.dtype != np.float16:
        array = array.repeat(2)
    with pytest.raises(ValueError, match=f"{name} must be C-ordered"):
        layers_of(replace(layer, **{name: array}))


def test_projections_in_float64_and_for_gradients():
    wide = packed(nystrom_reg=1e-9, beta=0.01)
    assert wide.wide
    layers_of(wide)
    with pytest.raises(ValueError, match="projection must be"):
        layers_of(replace(wide, wide=False))
    with pytest.raises(ValueError, match="projection must be"):
        layers_of(replace(packed(), wide=True))
    with pytest.raises(ValueError, match="real_projection must be"):
        layers_of(replace(wide, real_projection=wide.projection))


@pytest.mark.parametrize("which", ["forward_sizes", "backward_sizes"])
@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"width": 9},
        {"n_channels": 33},
        {"patch_height": 0},
        {"patch_width": 0},
        {"pad_top": -1},
        {"pad_left": 6},
        {"padded_height": 10},
        {"padded_width": 9},
        {"response_height": 13},
        {"response_width": 0},
        {"n_filters": 0},
        {"tile": 3},
        {"tile": 0},
        {"patch_height": 2},
        {"patch_width": 2},
        {"dilation": 0},
        {"dilation": 2},
        {"dilation": 2, "tile": 1},
    ],
    ids=str,
)
def test_sizes_of_layers(which, changes):
    layer = packed()
    sizes = {**getattr(layer, which), **changes}
    with pytest.raises(ValueError, match=r"do not fit together|reversed|must be"):
        layers_of(replace(layer, **{which: sizes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"subsampling": 0},
        {"pooled_shape": (0, 4)},
        {"pooled_shape": (5, 0)},
        {"kernel": -1},
        {"kernel": 3},
    ],
    ids=str,
)
def test_pooling_and_kernel_of_layers(changes):
    with pytest.raises(ValueError, match="are not those of a layer"):
        layers_of(replace(packed(), **changes))


def test_taps_of_an_even_number():
    layer = packed()
    with pytest.raises(ValueError, match="taps must be"):
        layers_of(replace(layer, taps=layer.taps[:-1].copy()))


def test_layers_follow_each_other():
    first = packed()
    assert first.pooled_shape == (5, 4)
    layers_of(first, packed((5, 4, 5)))
    for shape in [(4, 4, 5), (5, 5, 5), (5, 4, 6)]:
        with pytest.raises(ValueError, match="not for the maps of the one before"):
            layers_of(first, packed(shape))
    with pytest.raises(ValueError, match="at least one"):
        _cpu.PackedLayers([], "f4", SET)
    with pytest.raises(ValueError, match="float32 or float64"):
        layers_of(dtype="f2")


def maps_arguments(n=3):
    """Return what ``encode`` takes."""
    scratch = layers_of().encode_scratch(N_BLOCK)
    return {
        "images": np.zeros((n, *SHAPE), "f4"),
        "output": np.zeros((n, 5, 4, 5), "f4"),
        "pooled": np.zeros((n, 5, 4, 5), "f4"),
        "scratch": np.zeros((1, scratch), np.uint8),
        "n_block": N_BLOCK,
        "images_per_check": 1,
    }


def gradient_arguments(n=3, n_groups=2):
    """Return what ``gradients`` takes."""
    width = _cpu.panel_width(SET, "f4")
    n_panels = -(-5 // width)
    scratch = layers_of().gradient_scratch(N_BLOCK)
    return {
        "images": np.zeros((n, *SHAPE), "f4"),
        "pooled": np.zeros((n, 5, 4, 5), "f4"),
        "output_gradients": np.zeros((n, 5, 4, 5), "f4"),
        "anchor_gradients": np.zeros((n_groups, n_panels, 9 * 32, width), "f4"),
        "projection_gradients": np.zeros((n_groups, n_panels, 5, width), "f4"),
        "beta_gradients": np.zeros(n_groups),
        "image_gradients": np.zeros((n, *SHAPE), "f4"),
        "scratch": np.zeros((1, scratch), np.uint8),
        "n_block": N_BLOCK,
    }


def other_shapes(arguments):
    """Yield arguments with one array shorter along one axis, or with no room."""
    for name, value in arguments.items():
        if isinstance(value, int):
            yield {**arguments, name: 0}
            continue
        for axis in range(value.ndim):
            if name == "images" and axis == 0:
                continue
            shorter = np.delete(value, -1, axis)
            yield {**arguments, name: shorter}


@pytest.mark.parametrize(
    ("method", "make"), [("encode", maps_arguments), ("gradients", gradient_arguments)]
)
def test_arrays_of_images(method, make):
    call = getattr(layers_of(), method)
    call(**make())
    call(**make(n=0))
    for changed in other_shapes(make()):
        with pytest.raises(ValueError, match=r"must be|at least"):
            call(**changed)
    for name, value in make().items():
        optional = "pooled" if method == "encode" else "image_gradients"
        if isinstance(value, np.ndarray) and name != optional:
            with pytest.raises(TypeError):
                call(**{**make(), name: None})


def test_images_of_another_dtype():
    layers = layers_of(packed(dtype="f8"), dtype="f8")
    with pytest.raises(ValueError, match="images must be float64"):
        layers.encode(**maps_arguments())
    with pytest.raises(ValueError, match="images must be float64"):
        layers.gradients(**gradient_arguments())


def test_more_images_than_maps():
    with pytest.raises(ValueError, match="output must be of shape"):
        layers_of().encode(
            **{**maps_arguments(), "images": np.zeros((4, *SHAPE), "f4")}
        )
    with pytest.raises(ValueError, match="pooled must be of shape"):
        layers_of().gradients(
            **{**gradient_arguments(), "images": np.zeros((4, *SHAPE), "f4")}
        )


def test_all_threads_on_more_images_than_a_block():
    layers_of().encode(**maps_arguments(N_BLOCK), together=True)
    for n in (0, N_BLOCK + 1):
        with pytest.raises(ValueError, match="n_block must be at least"):
            layers_of().encode(**maps_arguments(n), together=True)


def test_gradients_that_a_layer_was_not_packed_for():
    layer = packed()
    with pytest.raises(ValueError, match="not packed for gradients in its input"):
        layers_of(replace(layer, flipped=None)).gradients(**gradient_arguments())
    with pytest.raises(ValueError, match="not packed for gradients"):
        layers_of(replace(layer, real_projection=None)).gradients(
            **gradient_arguments()
        )


def test_what_is_for_single_layers():
    two = layers_of(packed(), packed((5, 4, 5)))
    arguments = maps_arguments()
    arguments["output"] = arguments["pooled"] = np.zeros((3, 3, 2, 5), "f4")
    arguments["scratch"] = np.zeros((1, two.encode_scratch(N_BLOCK)), np.uint8)
    with pytest.raises(ValueError, match="a single layer is needed"):
        two.encode(**arguments)
    with pytest.raises(ValueError, match="a single layer is needed"):
        two.gradients(**gradient_arguments())


@pytest.mark.parametrize(
    ("shape", "tile"), [((0, 9), 1), ((4, 0), 1), ((4, 10), 2), ((4, 9), 3)]
)
def test_filters_that_cannot_be_packed(shape, tile):
    with pytest.raises(ValueError, match=r"no filters|tile must be"):
        _cpu.pack(np.zeros(shape, "f4"), tile, SET, 1)


def test_points_and_anchors():
    def arguments():
        return {
            "points": np.zeros((7, 3), "f4"),
            "panels": _cpu.pack(np.zeros((2, 3), "f4"), 1, SET, 1),
            "nearest": np.zeros(7, np.intp),
            "similarity": np.zeros(7, "f4"),
            "scratch": np.zeros((1, _cpu.nearest_scratch(SET, "f4")), np.uint8),
            "chunks_per_check": 1,
            "n_anchors": 2,
            "instruction_set": SET,
        }

    _cpu.nearest_anchors(**arguments())
    width = _cpu.panel_width(SET, "f4")
    names = ["panels", "nearest", "similarity", "scratch", "points"]
    cases = [
        changed
        for name in names
        for changed in other_shapes({name: arguments()[name]})
        if not (name == "points" and changed[name].shape[0] == 6)
    ]
    cases += [{"n_anchors": 0}, {"n_anchors": width + 1}, {"chunks_per_check": 0}]
    for changed in cases:
        with pytest.raises(ValueError, match=r"must be|at least"):
            _cpu.nearest_anchors(**{**arguments(), **changed})
    with pytest.raises(ValueError, match="nearest and similarity must be of length 8"):
        _cpu.nearest_anchors(**{**arguments(), "points": np.zeros((8, 3), "f4")})


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": [0, 2]},
        {"indices": [-1, 0]},
        {"indices": [0]},
        {"tops": [0]},
        {"lefts": [0]},
        {"patch_shape": (2, 3)},
        {"patch_shape": (-2, -2)},
        {"dilation": 0},
    ],
    ids=str,
)
def test_patches_that_are_gathered(changes):
    arguments = {
        "indices": [0, 1],
        "tops": [0, 0],
        "lefts": [-1, 3],
        "patch_shape": (2, 2),
        "dilation": 1,
    }

    def gather(changes):
        values = {
            name: np.array(value, np.intp) if isinstance(value, list) else value
            for name, value in {**arguments, **changes}.items()
        }
        patches = np.ones((2, 4), "f4")
        images = np.ones((2, 4, 4, 1), "f4")
        _patches.gather_patches(images=images, patches=patches, n_threads=1, **values)
        return patches

    assert gather({}).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"must be|are not"):
        gather(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": [0, 3, 1]},
        {"order": [0, -1, 1]},
        {"starts": [0, 2, 4]},
        {"starts": [-1, 2, 3]},
        {"starts": [0, 3]},
        {"sums": np.zeros((2, 3))},
    ],
    ids=["order", "negative", "starts", "negative start", "groups", "length"],
)
def test_groups_that_are_added(changes):
    arguments = {"order": [2, 0, 1], "starts": [0, 2, 3], "sums": np.zeros((2, 2))}

    def add(changes):
        values = {
            name: np.array(value, np.intp) if isinstance(value, list) else value
            for name, value in {**arguments, **changes}.items()
        }
        points = np.array([[1, 2], [3, 4], [5, 6]], "f4")
        _patches.sum_groups(points=points, n_threads=1, **values)
        return values["sums"]

    assert add({}).tolist() == [[6, 8], [3, 4]]
    with pytest.raises(ValueError, match="must be"):
        add(changes)
