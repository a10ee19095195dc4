"""Cases of the exact kernel, the whitening and the clustering."""

import numpy as np
from checks import (
    check_copies,
    check_fitted,
    check_same,
    close,
    require,
    watched_warnings,
)
from images import (
    KINDS,
    LAYOUTS,
    computed,
    image_shape,
    lay_out,
    power,
    random_images,
)
from parameters import per_layer_parameters

from sklearn_ckn import PatchWhitening, SphericalKMeans, ckn_kernel
from sklearn_ckn._common.norms import image_scales
from sklearn_ckn._network.kernels import kernel_values
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.pooling import pooling_matrix

EPS = np.finfo("f8").eps


def shifts(shape, settings):
    """Return the matrices, positions by pixels, that take each pixel of all patches."""
    axes = []
    for size in shape[:2]:
        before = settings.pad_axis(size)[0]
        positions = np.arange(settings.response_size(size))[:, np.newaxis]
        pixels = np.arange(size)
        axes.append(
            [
                (positions + settings.dilation * i - before == pixels) * 1.0
                for i in range(settings.patch_side(size))
            ]
        )
    return [np.kron(down, along) for down in axes[0] for along in axes[1]]


def exact_kernel(X, Y, all_settings):
    """Return the kernel of two images by matrices of the whole maps."""
    shape = X.shape
    grams = [
        (a.reshape(-1, shape[2]) @ b.reshape(-1, shape[2]).T)
        for a, b in ((X, Y), (X, X), (Y, Y))
    ]
    for settings in all_settings:
        takes = shifts(shape, settings)
        grams = [sum(take @ gram @ take.T for take in takes) for gram in grams]
        left, right = (np.sqrt(np.maximum(np.diag(gram), 0)) for gram in grams[1:])
        pool = np.kron(
            *(
                pooling_matrix(size, settings.subsampling)
                for size in settings.response_shape(shape)
            )
        )
        pairs = ((left, right), (left, left), (right, right))
        for i, (rows, columns) in enumerate(pairs):
            norms = np.outer(rows, columns)
            cosines = np.divide(
                grams[i], norms, out=np.zeros_like(norms), where=norms > 0
            )
            values = kernel_values(
                np.minimum(cosines, 1), settings.kernel, settings.beta
            )
            grams[i] = pool @ (norms * values) @ pool.T
        shape = settings.output_shape((*shape[:2], 1))
    return np.trace(grams[0]), np.trace(grams[1]), np.trace(grams[2])


def check_ckn_kernel(rng):
    """Check the kernel of some images against that by matrices."""
    shape = image_shape(rng, largest=6)
    n_layers = int(rng.choice([1, 2, 3], p=[0.4, 0.5, 0.1]))
    parameters = per_layer_parameters(rng, n_layers)
    flips = bool(rng.random() < 0.25)
    images, kind = random_images(rng, 5, shape)
    X, extra = lay_out(rng, images, str(rng.choice(LAYOUTS)))
    common = {"n_layers": n_layers, "flip_average": flips, **parameters}
    with watched_warnings(kind):
        K = ckn_kernel(X, **common, **extra)
        check_same(K, K.T, "transposed kernel")
        rectangle = ckn_kernel(images[:2], images[2:], **common)
    exact = images.astype("f8")
    scale, inverse = image_scales(exact)
    settings = resolve_layers(
        {
            "patch_size": 3,
            "dilation": 1,
            "subsampling": "auto",
            "kernel": "exp",
            "beta": 2.8,
            "padding": "same",
            **parameters,
            "n_layers": n_layers,
        },
        shape,
    )
    scaled, inverse = exact * scale, inverse.ravel()
    steepness = np.prod([max(1, each.beta, 2) for each in settings])
    n_terms = sum(each.patch_size**2 * np.prod(shape) for each in settings)
    for i in range(2):
        for j in range(2, 5):
            value, left, right = np.mean(
                [
                    exact_kernel(scaled[i][:, ::a], scaled[j][:, ::b], settings)
                    for a in ((1, -1) if flips else (1,))
                    for b in ((1, -1) if flips else (1,))
                ],
                axis=0,
            )
            with np.errstate(over="ignore", under="ignore"):
                expected = value * inverse[i] * inverse[j]
                size = np.sqrt(left * right) * inverse[i] * inverse[j]
            if not 1e-300 < size < 1e300:
                require(not np.isnan(K[i, j]), "kernel is NaN")
                continue
            # Sums of n terms round by sqrt(n) eps, eight standard deviations of it;
            # kernel functions multiply the error of a cosine by their slope, of
            # which the square root of the error of a norm near 0 is none, since it is
            # relative to sums of positive numbers.
            bound = 64 * n_terms**0.5 * steepness * EPS * size
            for found in (K[i, j], rectangle[i, j - 2]):
                close([found], np.array([expected]), bound, "kernel value")
    return kind


def dense_whitening(images, side):
    """Return all patches of images, (n, positions, kh, kw, C)."""
    height, width = images.shape[1:3]
    kh, kw = min(side, height), min(side, width)
    return np.stack(
        [
            images[:, i : i + kh, j : j + kw]
            for i in range(height - kh + 1)
            for j in range(width - kw + 1)
        ],
        axis=1,
    )


def check_patch_whitening(rng):
    """Moments, matrix and output against dense float64 code."""
    shape = image_shape(rng, largest=9)
    if shape[2] > 4:
        shape = (*shape[:2], 4)
    kinds = {name: often for name, often in KINDS.items() if name != "largest"}
    images, kind = random_images(rng, int(rng.integers(1, 7)), shape, kinds=kinds)
    side = int(rng.integers(1, 5))
    parameters = {
        "patch_size": side,
        "power": float(rng.choice([0, 0.25, 0.5, rng.uniform(0, 0.5)])),
        "reg": power(rng, -3, 1),
    }
    X, extra = lay_out(rng, images, str(rng.choice(LAYOUTS)))
    whitening = PatchWhitening(**parameters, **extra)
    used = computed(images)
    with watched_warnings(kind):
        whitened = whitening.fit(X).transform(X)
        check_fitted(whitening)
        plain = np.asarray(whitened).reshape(images.shape)
        require(plain.dtype == used.dtype, f"output is {plain.dtype}")
        one = np.asarray(whitening.transform(images[:1]))
        check_same(one, plain[:1], "transform of one image")
        if rng.random() < 0.3:
            check_copies(whitening, lambda copy: copy.fit(X), "transform", X)
    exact = images.astype("f8")
    patches = dense_whitening(exact, side)
    n, n_positions, kh, kw, _ = patches.shape
    matrix = whitening.whitening_
    flat = patches.reshape(n, n_positions, -1)
    if kh * kw > 1:
        flat = (patches - patches[:, :, :1, :1]).reshape(n, n_positions, -1)
    products = (flat @ matrix.T).reshape(patches.shape)
    sums, counts = np.zeros_like(exact), np.zeros(shape[:2])
    places = [
        np.s_[i : i + kh, j : j + kw]
        for i in range(shape[0] - kh + 1)
        for j in range(shape[1] - kw + 1)
    ]
    for position, place in enumerate(places):
        sums[(slice(None), *place)] += products[:, position]
        counts[place] += 1
    expected = sums / counts[..., np.newaxis]
    # A sum of m products is off by at most (m + 4) eps times the norms, the matrix
    # included that is rounded to the type of the images; the average of overlapping
    # patches does not enlarge it.
    eps = np.finfo(used.dtype).eps
    m = flat.shape[2]
    # Sums of absolute values, since squares of denormal numbers vanish.
    norms = np.abs(flat).sum(axis=(1, 2))
    bound = 2 * (m + 8) * eps * norms * np.linalg.norm(matrix, 2)
    bound += float(np.finfo(used.dtype).tiny) * exact[0].size
    close(plain, expected, bound, "whitened image")
    if kind not in ("powers", "denormal"):
        check_matrix(whitening, flat, kh * kw)
    return kind


def check_matrix(whitening, differences, n_pixels):
    """Compare the whitening matrix with a function of the exact second moments.

    Parameters
    ----------
    whitening : PatchWhitening
        Fitted.
    differences : ndarray of shape (n, n_positions, m), float64
        Patches minus their first pixels, or as they are if they have one pixel.
    n_pixels : int
    """
    rows = differences.reshape(-1, differences.shape[2])
    m = rows.shape[1]
    basis = np.eye(m)
    if n_pixels > 1:
        # Orthonormal columns, of which the first is the constant patch.
        columns = np.column_stack([np.ones(n_pixels), np.eye(n_pixels)[:, 1:]])
        centred = np.linalg.qr(columns)[0][:, 1:]
        basis = np.kron(centred, np.eye(m // n_pixels))
    eigenvalues, vectors = np.linalg.eigh(basis.T @ (rows.T @ rows) @ basis / len(rows))
    eigenvalues, vectors = np.maximum(eigenvalues, 0), basis @ vectors
    mean = eigenvalues.mean()
    # The moments of the differences are larger, and what rounds.
    size = np.einsum("ij,ij->", rows, rows) / len(rows)
    if mean <= 1e3 * m * EPS * size:
        return
    expected = (vectors * (eigenvalues + whitening.reg * mean) ** -whitening.power) @ (
        vectors.T
    )
    # f(e) = (e + reg mean)^-power has the slope power (reg mean)^(-power - 1) at most;
    # times the logarithm of the dimension it is the Lipschitz constant for matrices.
    largest = (whitening.reg * mean) ** -whitening.power
    steepness = whitening.power * largest / (whitening.reg * mean)
    error = 64 * m * EPS * (size * steepness * (1 + np.log(m)) + largest)
    close(
        whitening.whitening_[np.newaxis], expected[np.newaxis], error * m**0.5, "matrix"
    )


def random_rows(rng):
    """Return rows to cluster, of any magnitude, with zeros and copies among them."""
    n, d = int(rng.integers(1, 60)), int(rng.integers(1, 30))
    dtype = np.dtype(str(rng.choice(["f4", "f8", "i8"])))
    rows = rng.standard_normal((n, d))
    kind = int(rng.integers(6))
    if kind == 1:
        rows *= 10 ** rng.uniform(-30, 30, size=(n, 1))
    elif kind == 2:
        rows = rows[rng.integers(max(1, n // 4), size=n)]
    elif kind == 3:
        rows[rng.random(n) < 0.3] = 0
    elif kind == 4:
        rows *= 10 ** rng.uniform(-30, 30)
    elif kind == 5:
        rows[n // 2 :] = -rows[: n - n // 2]
    if dtype.kind == "i":
        rows = np.clip(rows * 10, -1e9, 1e9)
    rows = rows.astype(dtype)
    if not rows.any():
        rows[0, 0] = 1
    return rows


def check_spherical_kmeans(rng):
    """Check unit centers, nearest labels and that the inertia does not rise."""
    rows = random_rows(rng)
    parameters = {
        "n_clusters": int(rng.integers(1, min(len(rows), 12) + 1)),
        "max_iter": int(rng.choice([0, 1, 5, 100])),
        "tol": float(rng.choice([0, 1e-4, 0.1])),
        "random_state": int(rng.integers(1000)),
    }
    clusterer = SphericalKMeans(**parameters)
    with watched_warnings():
        labels = clusterer.fit_predict(rows)
        check_fitted(clusterer)
        check_same(clusterer.predict(rows), labels, "predict")
        cosines = clusterer.transform(rows)
        if rng.random() < 0.3:
            check_copies(clusterer, lambda copy: copy.fit(rows), "predict", rows)
        longer = {**parameters, "max_iter": parameters["max_iter"] + 3, "tol": 0}
        later = SphericalKMeans(**longer).fit(rows)
    centers = clusterer.cluster_centers_.astype("f8")
    eps = np.finfo(clusterer.cluster_centers_.dtype).eps
    d = rows.shape[1]
    # Norms of d squares, and products of d terms of two unit vectors.
    rounding = (d + 8) * eps
    norms = np.linalg.norm(centers, axis=1)
    require((np.abs(norms - 1) <= rounding).all(), "centers are no unit rows")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    directed = largest[:, 0] > 0
    scaled = rows / np.where(largest > 0, largest, 1).astype("f8")
    points = scaled[directed] / np.linalg.norm(scaled[directed], axis=1)[:, np.newaxis]
    exact = points @ centers.T
    close(cosines[directed], exact, 2 * rounding * len(centers) ** 0.5, "cosines")
    require(not cosines[~directed].any(), "cosines of zero rows")
    chosen = exact[np.arange(len(exact)), labels[directed]]
    require((exact.max(axis=1) - chosen <= 2 * rounding).all(), "labels not nearest")
    inertia = (1 - chosen).sum()
    slack = 2 * rounding * len(points)
    require(abs(clusterer.inertia_ - inertia) <= slack, "inertia")
    require(later.inertia_ <= clusterer.inertia_ + 2 * slack, "inertia rises")
