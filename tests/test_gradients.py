"""Gradients of the network: reference vectors, finite differences, both engines."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import REFERENCE, load_reference, relative_error
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_engines import backward, encode
from scipy.linalg import sqrtm
from threadpoolctl import threadpool_limits

from sklearn_ckn._common.norms import unit_rows
from sklearn_ckn._common.threads import single_threaded_blas
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._network.kernels import (
    KERNELS,
    InverseSquareRoot,
    kernel_derivatives,
    kernel_values,
)
from sklearn_ckn._network.layer import Layer, anchor_gradients, anchor_roots
from sklearn_ckn._network.settings import LayerSettings

NETWORKS = sorted(path.stem for path in REFERENCE.glob("net_*.npz"))


def decision_gradient(arrays):
    """Return the gradient of the mean loss with respect to the decisions, (n, m)."""
    decisions = arrays["decision"]
    rows = np.arange(len(decisions))
    is_label = np.zeros(decisions.shape, dtype=bool)
    is_label[rows, arrays["labels"]] = True
    targets = np.where(is_label, 1, -1)
    if arrays["loss"] == "squared_error":
        gradient = decisions - targets
    elif arrays["loss"] == "squared_hinge":
        gradient = -targets * np.maximum(1 - targets * decisions, 0)
    else:
        exponentials = np.exp(decisions)
        gradient = exponentials / exponentials.sum(axis=1, keepdims=True) - is_label
    return gradient / len(decisions)


@pytest.mark.parametrize("name", NETWORKS)
def test_reference_gradients(name, engine):
    arrays, layers = load_reference(name)
    images = arrays["images"]
    shape = encode(engine, images, layers).shape
    output_gradient = (decision_gradient(arrays) @ arrays["coef"]).reshape(shape)
    gradients, image_gradient = backward(engine, images, layers, output_gradient)
    assert image_gradient is None
    for i, (layer, gradient) in enumerate(zip(layers, gradients, strict=True)):
        (root,) = anchor_roots([layer.settings], [layer.anchors])
        anchor_gradient, beta_gradient = anchor_gradients(
            layer.settings, layer.anchors, root, gradient
        )
        expected = arrays[f"layer{i}_anchors_grad"]
        assert relative_error(anchor_gradient, expected) < 1e-9
        expected = arrays[f"layer{i}_beta_grad"]
        assert abs(beta_gradient - expected) <= 1e-9 * abs(expected)


layer_settings = st.builds(
    LayerSettings,
    n_anchors=st.integers(1, 5),
    patch_size=st.integers(1, 4),
    subsampling=st.sampled_from([1, 2, 3, "global"]),
    kernel=st.sampled_from(KERNELS),
    beta=st.floats(0.3, 4),
    padding=st.sampled_from(["same", "valid"]),
    nystrom_reg=st.sampled_from([1e-2, 1e-1]),
    dilation=st.sampled_from([1, 1, 2, 3]),
)
networks = st.lists(layer_settings, min_size=1, max_size=3)
# A second layer of 3 x 3 patches of so many channels goes through Winograd's algorithm,
# in tiles of 4 x 4 and, on the smallest maps, of 2 x 2; sizes are odd, too.
WINOGRAD = [
    LayerSettings(35, 2, 1, "exp", 1.5, "valid", 1e-1),
    LayerSettings(70, 3, 2, "exp", 1.5, "same", 1e-1),
]
image_shapes = st.tuples(
    st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(2, 3)
)
seeds = st.integers(0, 2**31 - 1)


class Function:
    """A random linear function of a random network's maps, of float64 images."""

    def __init__(self, all_settings, shape, seed):
        self.rng = np.random.RandomState(seed)
        # Away from zero: the network is not differentiable at patches of zeros.
        self.images = 0.2 + self.rng.uniform(size=shape)
        self.images[..., 0] *= self.rng.choice([-1, 1], size=shape[:3])
        self.settings, self.anchors = [], []
        maps = shape[1:]
        for layer in all_settings:
            self.settings.append(layer)
            rows = self.rng.randn(layer.n_anchors, layer.patch_length(maps))
            self.anchors.append(unit_rows(rows))
            maps = layer.output_shape(maps)
        self.weights = self.rng.randn(shape[0], *maps)

    def layers(self, anchors, betas):
        settings = [
            replace(each, beta=beta)
            for each, beta in zip(self.settings, betas, strict=True)
        ]
        return [
            Layer.from_anchors(*pair) for pair in zip(settings, anchors, strict=True)
        ]

    @property
    def betas(self):
        return [each.beta for each in self.settings]

    def value(self, images, anchors, betas):
        maps = encode(OracleEngine(), images, self.layers(anchors, betas))
        return np.sum(self.weights * maps)

    def gradients(self, engine, dtype="f8"):
        with single_threaded_blas():
            return self._gradients(engine, dtype)

    def _gradients(self, engine, dtype):
        layers = self.layers(self.anchors, self.betas)
        images, weights = self.images.astype(dtype), self.weights.astype(dtype)
        gradients, image_gradient = backward(
            engine, images, layers, weights, to_images=True
        )
        totals = [
            anchor_gradients(
                layer.settings,
                layer.anchors,
                *anchor_roots([layer.settings], [layer.anchors]),
                gradient,
            )
            for layer, gradient in zip(layers, gradients, strict=True)
        ]
        return image_gradient, [a for a, _ in totals], [b for _, b in totals]


def directional_derivative(function, point, direction):
    """Return the derivative along a direction, and a bound on its error.

    The central difference at steps h and h / 2 extrapolated to 0 has an error of the
    order h^4; the difference from the result without extrapolation, of order h^2,
    bounds it with room to spare.
    """
    step = 1e-3
    coarse, fine = (
        (function(point + h * direction) - function(point - h * direction)) / (2 * h)
        for h in (step, step / 2)
    )
    extrapolated = fine + (fine - coarse) / 3
    rounding = 1e-11 * abs(function(point)) / step
    return extrapolated, 0.1 * abs(fine - coarse) + rounding


@settings(max_examples=150)
@given(networks, image_shapes, seeds)
def test_finite_differences(all_settings, shape, seed):
    function = Function(all_settings, shape, seed)
    image_gradient, layer_anchor_gradients, beta_gradients = function.gradients(
        CPUEngine()
    )
    images, anchors, betas = function.images, function.anchors, function.betas
    # Scaled so that a step stays small beside every pixel, on a kink otherwise.
    direction = images * function.rng.uniform(-1, 1, size=images.shape)
    cases = [
        (
            lambda x: function.value(x, anchors, betas),
            images,
            direction,
            np.sum(image_gradient * direction),
        )
    ]
    for i, (rows, gradient) in enumerate(
        zip(anchors, layer_anchor_gradients, strict=True)
    ):
        along = function.rng.randn(*rows.shape)
        # Tangent to the sphere, where the anchors move in training. arccos1 is
        # differentiable twice only inside, so its anchors' norms are kept.
        along -= np.sum(along * rows, axis=1, keepdims=True) * rows

        def moved(z, i=i):
            z = unit_rows(z)
            return function.value(images, [*anchors[:i], z, *anchors[i + 1 :]], betas)

        cases.append((moved, rows, along, np.sum(gradient * along)))

        def with_beta(logarithm, i=i):
            changed = [*betas[:i], float(np.exp(logarithm)), *betas[i + 1 :]]
            return function.value(images, anchors, changed)

        cases.append((with_beta, np.log(betas[i]), 1.0, betas[i] * beta_gradients[i]))
    for value, point, along, actual in cases:
        expected, error = directional_derivative(value, point, along)
        size = np.linalg.norm(np.asarray(along))
        assert abs(actual - expected) <= error + 1e-7 * (abs(expected) + size * 1e-2)


@given(networks, image_shapes, st.sampled_from(["f4", "f8"]), seeds)
@example([LayerSettings(5, 1, 1, "poly", 1.0, "same", 1e-2)], (1, 1, 1, 2), "f4", 0)
@example(WINOGRAD, (2, 7, 9, 2), "f4", 0)
@example(WINOGRAD, (9, 6, 4, 2), "f8", 1)
@example([*WINOGRAD, replace(WINOGRAD[1], kernel="arccos1")], (3, 5, 8, 3), "f8", 2)
def test_engines_agree(cpu_engine, all_settings, shape, dtype, seed):
    function = Function(all_settings, shape, seed)
    # Patches of zeros pass nothing on.
    function.images[:, : shape[1] // 2] = 0
    actual, expected = (
        function.gradients(engine, dtype) for engine in (cpu_engine, OracleEngine())
    )
    assert actual[0].dtype == dtype
    # Sums of less than 10,000 terms; what the inverse square root amplifies is
    # bounded by its norm, 10 at a regularisation of 0.01.
    eps = 1e4 * np.finfo(dtype).eps
    # The cosines of single values are 1 and -1, where the slope of arccos1 moves by
    # sqrt(2 eps) / pi when rounding moves the cosine by eps.
    if any(
        layer.kernel == "arccos1" and anchors.shape[1] == 1
        for layer, anchors in zip(all_settings, function.anchors, strict=True)
    ):
        eps += 10 * np.sqrt(np.finfo(dtype).eps)
    for one, other in zip(actual[1:], expected[1:], strict=True):
        for left, right in zip(one, other, strict=True):
            assert np.linalg.norm(left - right) <= eps * (1 + np.linalg.norm(right))
    image_error = np.linalg.norm(actual[0].astype("f8") - expected[0])
    assert image_error <= eps * (1 + np.linalg.norm(expected[0]))


def test_patches_of_zeros_pass_nothing_on(engine):
    rng = np.random.RandomState(0)
    images = np.zeros((2, 5, 5, 1))
    images[1, 4, 4] = 1
    settings = LayerSettings(3, 1, 2, "exp", 1.0, "same", 1e-2)
    layers = [Layer.from_anchors(settings, unit_rows(rng.randn(3, 1)))]
    ones = np.ones_like(encode(engine, images, layers))
    (gradient,), image_gradient = backward(engine, images, layers, ones, to_images=True)
    assert_array_equal(image_gradient[images == 0], 0)
    assert image_gradient[1, 4, 4] != 0
    assert np.isfinite(gradient.anchors).all()
    (gradient,), _ = backward(engine, images[:1], layers, ones[:1])
    assert_array_equal(gradient.anchors, 0)
    assert gradient.beta == 0


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n_channels", [8, 32])
def test_the_same_bits_with_any_number_of_threads(cpu_engine, n_channels, dtype):
    settings = [
        LayerSettings(n_channels, 3, 2, "exp", 2.0, "same", 1e-2),
        LayerSettings(6, 3, 2, "arccos1", 2.0, "same", 1e-2),
    ]
    function = Function(settings, (37, 9, 9, 2), 0)
    results = []
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads):
            results.append(function.gradients(cpu_engine, dtype))
    for image_gradient, layer_anchor_gradients, beta_gradients in results[1:]:
        assert_array_equal(image_gradient, results[0][0])
        for actual, expected in zip(layer_anchor_gradients, results[0][1], strict=True):
            assert_array_equal(actual, expected)
        assert beta_gradients == results[0][2]


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_derivatives(kernel):
    cosines = np.linspace(-0.999, 0.999, 201)
    derivative, by_beta = kernel_derivatives(cosines, kernel, 1.7)
    expected, error = directional_derivative_each(
        lambda u: kernel_values(u, kernel, 1.7), cosines
    )
    assert (np.abs(derivative - expected) <= error).all()
    expected, error = directional_derivative_each(
        lambda beta: kernel_values(cosines, kernel, beta), 1.7
    )
    assert (np.abs(by_beta - expected) <= error).all()


def directional_derivative_each(function, point, step=1e-4):
    """Return derivatives of each value by a central difference, and their error.

    Its next term is step^2 / 6 times the third derivative, which near the ends of
    arccos1 grows like (1 - u^2)^(-3/2), up to 1.2e4 here.
    """
    difference = (function(point + step) - function(point - step)) / (2 * step)
    return difference, 2e4 * step**2


def test_inverse_square_root():
    rng = np.random.RandomState(0)
    factor = rng.randn(6, 6)
    matrix, gradient, move = factor @ factor.T, rng.randn(6, 6), rng.randn(6, 6)
    move = move + move.T

    def root_of(matrix):
        (root,) = InverseSquareRoot.from_matrices([matrix], [0.1])
        return root

    def inner_product(step):
        return np.sum(gradient * root_of(matrix + step * move).value())

    root = root_of(matrix)
    expected = np.linalg.inv(sqrtm(matrix + 0.1 * np.eye(6)))
    assert relative_error(root.value(), expected) < 1e-12
    assert_array_equal(root.value(), root.value().T)
    matrix_gradient = root.backward(gradient)
    expected, error = directional_derivative(inner_product, 0.0, 1.0)
    assert abs(np.sum(matrix_gradient * move) - expected) <= error + 1e-9
    assert relative_error(matrix_gradient, matrix_gradient.T) < 1e-14
