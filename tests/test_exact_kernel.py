"""The exact kernel: against plain loops, the features' limit, and its properties."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
import sklearn
from loops_kernel import loops_kernel
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import SpectralClustering
from sklearn.decomposition import KernelPCA
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC

from sklearn_ckn import CKNFeatures, ckn_kernel
from sklearn_ckn._network.kernels import KERNELS

EPS = np.finfo(float).eps


def make_images(n=4, shape=(6, 5, 2), seed=0):
    return np.random.RandomState(seed).randn(n, *shape)


THREE_LAYERS = {
    "patch_size": (2, 3, 1),
    "dilation": (2, 1, 3),
    "subsampling": (2, 1, 2),
    "kernel": ("exp", "arccos1", "poly"),
    "beta": (1.5, 2.0, 3.0),
    "padding": ("same", "valid", "valid"),
}

# Colour, rectangular and gray images, even patches, patches larger than the image.
LOOPS = {
    "one layer": ((3, 4, 2), 1, {"patch_size": 3, "subsampling": 2}),
    "even patch": ((4, 3, 1), 1, {"patch_size": 2, "subsampling": 3}),
    "valid": ((4, 5, 1), 1, {"padding": "valid", "subsampling": 2}),
    "even and valid": ((3, 4, 3), 1, {"padding": "valid", "patch_size": 2}),
    "large patch": ((2, 3, 1), 1, {"padding": "valid", "patch_size": 4}),
    "gaps": ((4, 5, 1), 1, {"dilation": 2, "subsampling": 2}),
    "gaps in even patches": ((3, 5, 2), 1, {"dilation": 2, "patch_size": 2}),
    "gaps and valid": ((5, 4, 1), 2, {"dilation": (2, 1), "padding": "valid"}),
    "gaps in a signal": ((1, 9, 1), 2, {"dilation": (3, 2), "subsampling": (2, 1)}),
    "mean": ((3, 4, 1), 1, {"subsampling": "global"}),
    "mean last": ((1, 8, 2), 2, {"subsampling": (2, "global")}),
    "mean first": ((4, 3, 1), 2, {"subsampling": ("global", 1)}),
    "signal": ((1, 9, 2), 2, {"subsampling": (3, 2)}),
    "signal along the height": ((7, 1, 2), 2, {"subsampling": (3, 1)}),
    "one pixel": ((1, 1, 3), 2, {"subsampling": 1, "padding": ("same", "valid")}),
    "map of one row": ((3, 6, 1), 2, {"subsampling": (3, 1)}),
    "two layers": ((5, 4, 1), 2, {"subsampling": (2, 1)}),
    "three layers": ((4, 4, 2), 3, THREE_LAYERS),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", LOOPS)
def test_equals_plain_loops(name, kernel):
    shape, n_layers, parameters = LOOPS[name]
    defaults = {
        "patch_size": 3,
        "dilation": 1,
        "subsampling": 1,
        "kernel": kernel,
        "beta": 2.8,
        "padding": "same",
    }
    parameters = {**defaults, **parameters}
    layers = [
        {
            key: value[i] if isinstance(value, tuple) else value
            for key, value in parameters.items()
        }
        for i in range(n_layers)
    ]
    X, Y = make_images(2, shape), make_images(2, shape, seed=1)
    # A blank corner: patches of norm 0.
    X[0, :, : shape[1] // 2 + 1] = 0
    expected = [[loops_kernel(x, y, layers) for y in Y] for x in X]
    # After the first layer all terms are positive; a cosine is off by some eps,
    # which the later kernels multiply by their slopes, at most 2.8 each.
    K = ckn_kernel(X, Y, n_layers=n_layers, **parameters)
    assert_allclose(K, expected, rtol=1e-12)


def features_error(images, exact, n_layers, n_anchors, **parameters):
    """Return the relative error of the features' inner products."""
    features = CKNFeatures((n_anchors,) * n_layers, random_state=0, **parameters)
    maps = features.fit(images).transform(images)
    return np.linalg.norm(maps @ maps.T - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:Layer .* distinct patches:UserWarning")
def test_limit_of_the_features(n_layers, kernel):
    images = make_images()
    common = {"kernel": kernel, "beta": 1.5, "subsampling": (2, 1, 1)[:n_layers]}
    exact = ckn_kernel(images, n_layers=n_layers, **common)
    # The last number is that of all patches of the first layer, the largest.
    errors = [
        features_error(images, exact, n_layers, n, nystrom_reg=1e-9, **common)
        for n in (4, 16, 64, 120)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    # With all patches as anchors of Gram matrix G, kappa becomes G (G + eps I)^-1 G,
    # which differs from G by eps G (G + eps I)^-1, at most eps = 1e-9 a value. Two
    # decades are left for the slopes of later layers, and for values below 1.
    assert errors[3] < 1e-7


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_anchors", [1, 10, 50])
def test_one_layer_of_features_is_a_projection(kernel, n_anchors):
    images = make_images(8)
    features = CKNFeatures(n_anchors, kernel=kernel, nystrom_reg=1e-6, random_state=0)
    maps = features.fit_transform(images)
    exact = ckn_kernel(images, n_layers=1, kernel=kernel)
    # What the projection leaves out is a kernel, too. The projection's norm of 1e3
    # multiplies the rounding of its product with the responses.
    missing = np.linalg.eigvalsh(exact - maps @ maps.T)
    assert missing[0] >= -1e4 * EPS * np.linalg.norm(exact)
    assert missing[-1] > 0


@pytest.mark.filterwarnings("ignore:Layer .* distinct patches:UserWarning")
def test_default_parameters_are_those_of_the_features(digits):
    images = digits[0][:10].astype(float)
    features = CKNFeatures((1000, 1000), nystrom_reg=1e-7, random_state=0)
    maps = features.fit_transform(images)
    assert features.subsampling_ == [2, 2]
    expected = ckn_kernel(images, subsampling=(2, 2))
    assert_array_equal(ckn_kernel(images), expected)
    # Patches within 0.05 of a constant one are no anchors: others represent them to
    # 1 - kappa(1 - 0.05^2 / 2)^2 = 0.7 %, in either layer.
    assert_allclose(maps @ maps.T, expected, rtol=1.4e-2)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_symmetric_and_positive_semi_definite(n, kernel):
    images = make_images(n)
    K = ckn_kernel(images, kernel=kernel)
    assert K.shape == (n, n)
    assert K.dtype == np.float64
    assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K)[0] >= -10 * n * EPS * np.linalg.norm(K)
    assert_array_equal(ckn_kernel(images, images, kernel=kernel), K)
    # Above the diagonal the same pairs are computed. Below it, a pair's images trade
    # places, and the sums are taken in another order; on it, BLAS may compute the
    # product of a matrix with itself in a way of its own.
    other = ckn_kernel(images, images.copy(), kernel=kernel)
    assert_array_equal(np.triu(other, 1), np.triu(K, 1))
    assert_allclose(other, K, rtol=1e-13)


def test_n_jobs_and_working_memory_change_nothing():
    X, Y = make_images(12, (8, 7, 1)), make_images(9, (8, 7, 1), seed=1)
    symmetric, rectangular = ckn_kernel(X), ckn_kernel(X, Y)
    for n_jobs in (1, 2, 3, -1):
        # From one pair in a block to thirteen: a pair takes 0.16 MiB.
        for mebibytes in (0.2, 1, 64):
            with sklearn.config_context(working_memory=mebibytes):
                assert_array_equal(ckn_kernel(X, n_jobs=n_jobs), symmetric)
                assert_array_equal(ckn_kernel(X, Y, n_jobs=n_jobs), rectangular)


def test_a_pair_does_not_see_the_other_images():
    X, Y = make_images(5), make_images(3, seed=1)
    K = ckn_kernel(X, Y)
    for i, j in np.ndindex(*K.shape):
        assert ckn_kernel(X[i : i + 1], Y[j : j + 1]) == K[i, j]


@pytest.mark.parametrize("kernel", KERNELS)
def test_positively_homogeneous(kernel):
    X, Y = make_images(), make_images(seed=1)
    K = ckn_kernel(X, Y, kernel=kernel)
    for left, right in ((-1000, 1000), (-400, -400), (450, 450), (900, 0)):
        scaled = ckn_kernel(np.ldexp(X, left), np.ldexp(Y, right), kernel=kernel)
        assert_array_equal(scaled, np.ldexp(K, left + right))
    assert_allclose(ckn_kernel(1e250 * X, 3e-9 * Y, kernel=kernel), 3e241 * K, 1e-12)
    # Each image has a magnitude of its own.
    units = 10.0 ** np.arange(-120, 120, 60)
    scaled = ckn_kernel(units[:, None, None, None] * X, kernel=kernel)
    expected = np.outer(units, units) * ckn_kernel(X, kernel=kernel)
    assert_allclose(scaled, expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_vanishing_parts_of_an_image(kernel):
    X = make_images(3)
    expected = X.copy()
    X[:, :4] *= 1e-180
    expected[:, :4] = 0
    parameters = {"n_layers": 3, "subsampling": 1, "kernel": kernel, "beta": 500.0}
    K = ckn_kernel(X, **parameters)
    assert np.isfinite(K).all()
    # They are as good as zero where a patch is large, and one is near all of them.
    assert_allclose(K, ckn_kernel(expected, **parameters), rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_layers", [1, 3])
def test_blank_images_give_zeros(n_layers, kernel):
    X = make_images()
    X[1] = 0
    K = ckn_kernel(X, n_layers=n_layers, kernel=kernel)
    assert not K[1].any()
    assert not K[:, 1].any()
    assert (np.diag(K)[[0, 2, 3]] > 0).all()
    assert not ckn_kernel(np.zeros((2, 3, 3)), X[:, :3, :3, 0], kernel=kernel).any()


def test_layouts_give_identical_results():
    images = make_images(5, (6, 5, 1))
    expected = ckn_kernel(images, images[:3])
    ways = [
        (images[..., 0], None),
        (images[..., 0].tolist(), (6, 5)),
        (images.reshape(5, -1), (6, 5)),
        (images.reshape(5, -1), (6, 5, 1)),
    ]
    for X, image_shape in ways:
        for Y in (images[:3], images[:3, ..., 0]):
            assert_array_equal(ckn_kernel(X, Y, image_shape=image_shape), expected)
        # Rows follow the other argument where it has a shape.
        assert_array_equal(ckn_kernel(images, images[:3].reshape(3, -1)), expected)
    integers = np.random.RandomState(0).randint(256, size=(3, 6, 5))
    expected = ckn_kernel(integers.astype(float))
    assert_array_equal(ckn_kernel(integers.astype(np.uint8)), expected)


def test_rows_without_shape_warn_once():
    rows = make_images().reshape(4, -1)
    with pytest.warns(UserWarning, match=r"ckn_kernel.*\(1, 1, 60\)") as record:
        K = ckn_kernel(rows, rows[:2])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert_array_equal(K, ckn_kernel(rows, rows[:2], image_shape=(1, 1, 60)))


def test_a_pair_of_rows():
    images = make_images()
    rows = images.reshape(4, -1)
    # Another object than the images, so that every pair is computed in its order.
    K = ckn_kernel(images, images.copy())
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            value = ckn_kernel(row, other, image_shape=(6, 5, 2))
            assert np.ndim(value) == 0
            assert value == K[i, j]
    with pytest.warns(UserWarning, match="image of one pixel"):
        value = ckn_kernel(rows[0], rows[1])
    assert value == ckn_kernel(rows, image_shape=(1, 1, 60))[0, 1]
    for X, Y in [(rows[0], None), (rows[0], rows), (rows, rows[0])]:
        with pytest.raises(ValueError, match="1D array"):
            ckn_kernel(X, Y, image_shape=(6, 5, 2))


@pytest.mark.parametrize("name", ["ridge", "nystroem", "pca", "clusters"])
def test_methods_that_call_the_kernel_for_each_pair(name, digits):
    X = digits[0][:12].reshape(12, -1).astype(float)
    y = digits[1][:12]
    kernel = partial(ckn_kernel, image_shape=(8, 8), n_layers=1)
    make = {
        "ridge": lambda kernel: KernelRidge(kernel=kernel),
        "nystroem": lambda kernel: Nystroem(
            kernel=kernel, n_components=12, random_state=0
        ),
        "pca": lambda kernel: KernelPCA(
            3, kernel=kernel, eigen_solver="dense", random_state=0
        ),
        "clusters": lambda kernel: SpectralClustering(
            3, affinity=kernel, random_state=0, assign_labels="cluster_qr"
        ),
    }[name]
    called = make(kernel).fit(X, y)
    known = make("precomputed").fit(kernel(X), y)
    if name == "clusters":
        assert_array_equal(called.labels_, known.labels_)
        return
    method = "predict" if name == "ridge" else "transform"
    actual, expected = getattr(called, method)(X), getattr(known, method)(kernel(X))
    # Values of the kernel differ by rounding where two images change places, which
    # what follows enlarges by no more than the matrix's condition number.
    assert np.linalg.cond(kernel(X)) < 1e4
    assert abs(actual - expected).max() < 1e4 * 1e-14 * abs(expected).max()


def test_support_vector_machine(digits):
    images, labels = digits
    X = images[:180].reshape(180, -1).astype(float)
    train, test = slice(0, 80), slice(80, 180)
    kernel = partial(ckn_kernel, image_shape=(8, 8), n_jobs=2)
    K, K_test = kernel(X[train]), kernel(X[test], X[train])
    precomputed = SVC(kernel="precomputed").fit(K, labels[train])
    called = SVC(kernel=kernel).fit(X[train], labels[train])
    expected = precomputed.decision_function(K_test)
    assert_array_equal(called.decision_function(X[test]), expected)
    assert precomputed.score(K_test, labels[test]) > 0.9


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_memory_of_a_pair_is_bounded_as_checked(n_layers, kernel):
    X, Y = make_images(1, (18, 16, 3)), make_images(1, (18, 16, 3), seed=1)
    parameters = {
        "n_layers": n_layers,
        "kernel": kernel,
        "subsampling": 1,
        "patch_size": 5,
    }
    with (
        sklearn.config_context(working_memory=1),
        pytest.raises(ValueError, match="Comparing two images takes") as error,
    ):
        ckn_kernel(X, Y, **parameters)
    stated = float(str(error.value).split()[4])
    tracemalloc.start()
    ckn_kernel(X, Y, **parameters)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    # Beside it stands what is kept of the images: patches of 75 values, their norms,
    # and what these are computed from.
    patches = 2 * 18 * 16 * 75 * 8 / 2**20
    assert stated / 3 < peak < stated + 2 * patches


@pytest.mark.parametrize(
    ("n", "shape", "mebibytes", "message"),
    [
        (2, (8, 8), 0.1, r"two images.*0.1 MiB.*smaller images.*working_memory=1\)"),
        (1100, (1, 1), 0.5, r"1100 x 1100.*16 times.*0.5 MiB.*CKNFeatures.*memory=1\)"),
    ],
)
def test_too_little_memory(n, shape, mebibytes, message):
    with (
        sklearn.config_context(working_memory=mebibytes),
        pytest.raises(ValueError, match=message),
    ):
        ckn_kernel(np.ones((n, *shape)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_layers": 0}, "n_layers"),
        ({"n_layers": (1, 2)}, "n_layers"),
        ({"patch_size": (3, 3, 3)}, "patch_size has 3 values and n_layers is 2"),
        ({"subsampling": (2,)}, "subsampling has 1 values and n_layers is 2"),
        ({"subsampling": "all"}, "subsampling"),
        ({"patch_size": (3, 0)}, r"patch_size\[1\] must be an integer"),
        ({"dilation": 0}, "dilation"),
        ({"dilation": (1, 2.5)}, r"dilation\[1\] must be an integer"),
        ({"kernel": "rbf"}, "kernel"),
        ({"kernel": ("exp", "rbf")}, r"kernel\[1\] must be one of"),
        ({"beta": -1.0}, "beta"),
        ({"padding": "full"}, "padding"),
        *[({"n_jobs": 1.5}, "n_jobs"), ({"n_jobs": 0}, "n_jobs == 0")],
        ({"flip_average": "yes"}, "flip_average"),
        ({"image_shape": (5, 6, 2)}, r"X holds images of shape \(6, 5, 2\)"),
        ({"image_shape": (6,)}, "image_shape must be"),
        ({"Y": make_images(2, (5, 6, 2))}, r"\(6, 5, 2\) and Y.* \(5, 6, 2\)"),
        ({"Y": np.ones((2, 59))}, r"Y has 59 columns.*\(6, 5, 2\) needs 60"),
        ({"Y": np.full((2, 60), np.nan)}, "Y contains NaN"),
        ({"X": np.full((2, 6, 5), np.inf)}, "X contains infinity"),
        ({"X": make_images()[:0]}, r"0 sample\(s\)"),
        ({"Y": [np.ones((3, 3)), np.ones((4, 3))]}, "Y must be rows"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ckn_kernel(**{"X": make_images(), **parameters})
