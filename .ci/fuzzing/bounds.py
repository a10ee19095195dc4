"""How far a network may be from its float64 oracle: the bounds and their derivation.

All bounds are on Euclidean norms, first order in eps, the relative spacing of numbers,
which is twice the unit of rounding.

Sums. The rounding of a sum of m products is at most m eps times the norms of its
factors, and as a sum of m errors of random signs about sqrt(m) eps; 8 of these standard
deviations hold in every case that is ever seen (Higham and Mary, SIAM J. Sci. Comput.
2019). Errors that are common to many positions are not averaged, which the bounds do
not assume.

A layer. The cosine of a patch of norm r and a unit anchor, both of m values, is then
off by (8 sqrt(m) + 16) eps, the 16 for the norm, the division and the mean of the
anchors, which is taken apart. Winograd's algorithm, for patches of 3 x 3 pixels with 32
channels or more, transforms tiles by matrices whose condition costs a factor of some
ten: its products are off by WINOGRAD eps times the largest norm of the tile, which has
at most 4 x 4 positions. The kernel function has a slope of s = beta, 2 or 1, so that a
response r kappa is off by r expm1(s d) where its cosine is off by d: the exponential's
own growth is inside. Pooling is a weighted mean of at most 9 terms a step. The p
responses of a position become a vector with an error of sqrt(p) times that, the
projection P adds 8 sqrt(p) eps of it and multiplies it by |P|. The squares of all
patches of a map add up to at most k^2 times those of the map, and those of the largest
norms within 3 positions to 49 times as much. Together

    |error| <= eps-terms * sqrt(p) |P| k |map|.

Networks. The exact map of a layer moves by at most k max(1, sqrt(s)) times as much as
its input: patches take every pixel k^2 times; the kernel's feature map has the
Lipschitz constant max(1, sqrt(kappa'(1))) (Mairal, NIPS 2016, lemma 1 of the
supplement: of norms and directions); the projection on the span of the anchors and
pooling shrink distances.

Gradients. The gradient with respect to the responses is at most |P| |gradient|, that
with respect to the products s times as much; a relative error of the derivative of the
kernel function is that of the function, but for the arc-cosine kernel, whose derivative
has an infinite slope where cosines are 1: an error d of the cosine there is one of
sqrt(2 d).
"""

import numpy as np

WINOGRAD_CHANNELS = 32
WINOGRAD = 100.0
REACH = 3

# Errors beyond this are no longer of first order, and nothing is compared.
LARGEST_RELATIVE_ERROR = 0.1


def slope(settings):
    """Return kappa'(1), the largest slope of a kernel function."""
    return {"exp": settings.beta, "poly": 2.0, "arccos1": 1.0}[settings.kernel]


def uses_winograd(layer):
    """Whether the products of a layer may be Winograd's."""
    n_values = layer.anchors.shape[1]
    return layer.settings.patch_size == 3 and n_values >= 9 * WINOGRAD_CHANNELS


def cosine_error(layer, eps, reach=2 * REACH + 1):
    """Return by how much cosines of patches and anchors may be off.

    Parameters
    ----------
    layer : Layer
    eps : float
    reach : float, default=7
        The largest norms within ``REACH`` positions over the norms of patches, in the
        mean of their squares.
    """
    error = 8 * layer.anchors.shape[1] ** 0.5 + 16
    if uses_winograd(layer):
        error += WINOGRAD * reach
    return error * eps


def layer_error(layer, eps, reach=2 * REACH + 1):
    """Return by what part of the norms of the patches a layer's output may be off."""
    p = len(layer.anchors)
    error = slope(layer.settings) * cosine_error(layer, eps, reach)
    responses = np.expm1(np.minimum(error, 100))
    relative = responses + (8 * p**0.5 + 33) * eps
    return relative * p**0.5 * np.linalg.norm(layer.projection, 2)


def network_bound(maps, layers, eps):
    """Return bounds of the error of every image's output, (n,).

    Parameters
    ----------
    maps : list of ndarray of shape (n, H, W, C)
        Exact inputs of all layers.
    layers : list of Layer
    eps : float
    """
    errors = np.zeros(len(maps[0]))
    for inputs, layer in zip(maps, layers, strict=True):
        side = np.prod(layer.settings.patch_shape(inputs.shape[1:])) ** 0.5
        norms = np.linalg.norm(inputs.reshape(len(inputs), -1), axis=1)
        steepness = max(1, slope(layer.settings)) ** 0.5
        errors = side * (steepness * errors + layer_error(layer, eps) * norms)
    return errors


def is_comparable(layers, eps):
    """Whether errors stay small beside what is compared."""
    return all(
        slope(layer.settings) * cosine_error(layer, eps) < LARGEST_RELATIVE_ERROR
        for layer in layers
    )


def derivative_error(layer, eps):
    """Return the relative error of a kernel function's derivative."""
    error = cosine_error(layer, eps)
    if layer.settings.kernel == "arccos1":
        return (2 * error) ** 0.5 + error
    return np.expm1(slope(layer.settings) * error) + error


def gradient_bounds(layer, maps, gradient, eps):
    """Return bounds of the errors of a layer's gradients.

    Parameters
    ----------
    layer : Layer
    maps : ndarray of shape (n, H, W, C)
        Its input.
    gradient : ndarray of shape (n, H', W', p)
        The gradient with respect to its output.
    eps : float

    Returns
    -------
    bounds : dict of float
        Of ``"anchors"``, ``"projection"``, ``"beta"`` and ``"images"``.
    """
    p = len(layer.anchors)
    side = np.prod(layer.settings.patch_shape(maps.shape[1:])) ** 0.5
    steepness = max(1, slope(layer.settings))
    patch_norm = side * np.linalg.norm(maps)
    response_gradient = np.linalg.norm(layer.projection, 2) * np.linalg.norm(gradient)
    n_terms = len(maps) * np.prod(layer.settings.response_shape(maps.shape[1:]))
    sums = (8 * n_terms**0.5 + 8 * p**0.5 + 33) * eps
    relative = derivative_error(layer, eps) + sums
    return {
        # products of gradients and patches, summed over all positions
        "anchors": relative * steepness * response_gradient * patch_norm,
        # pooled responses, no larger than norms of patches, times gradients
        "projection": (layer_error(layer, eps) + p**0.5 * sums)
        * patch_norm
        * np.linalg.norm(gradient),
        # |dkappa/dbeta| <= 2 kappa, since a cosine minus one is at least -2
        "beta": (2 * relative + cosine_error(layer, eps))
        * p**0.5
        * response_gradient
        * patch_norm,
        # p gradients times unit anchors, and the part of the norms, in side^2 pixels
        "images": side * p**0.5 * 3 * relative * steepness * response_gradient,
    }
