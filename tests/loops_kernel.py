"""The exact kernel of two images in plain loops, the reference of its tests."""

from functools import cache
from itertools import product
from math import acos, ceil, exp, pi, prod, sqrt


def loops_kernel(x, y, layers):
    """Compute the kernel of two (H, W, C) images, one scalar after the other.

    Each layer is a dict of patch_size, dilation, subsampling, kernel, beta and padding.
    """
    images = (x, y)
    sizes, befores, positions = [x.shape[:2]], [], []
    for layer in layers:
        span = layer["dilation"] * (layer["patch_size"] - 1) + 1
        if layer["padding"] == "same":
            pads = [((span - 1) // 2, span // 2)] * 2
        else:
            missing = [max(span - size, 0) for size in sizes[-1]]
            pads = [(m // 2, m - m // 2) for m in missing]
        befores.append([before for before, _ in pads])
        positions.append(
            [n + sum(pad) - span + 1 for n, pad in zip(sizes[-1], pads, strict=True)]
        )
        s = layer["subsampling"]
        sizes.append([1 if s == "global" else ceil(n / s) for n in positions[-1]])

    def kappa(cosine, layer):
        if layer["kernel"] == "exp":
            return exp(layer["beta"] * (cosine - 1))
        if layer["kernel"] == "poly":
            return cosine**2
        cosine = min(max(cosine, -1.0), 1.0)
        return (sqrt(1 - cosine**2) + (pi - acos(cosine)) * cosine) / pi

    def grid(size):
        return product(range(size[0]), range(size[1]))

    def weight(out, place, s, size):
        if s == "global":
            return 1 / prod(size)
        if s == 1:
            return float(out == place)
        total = sum(exp(-((d / s) ** 2)) for d in range(-s, s + 1))
        value = 1.0
        for i, j in zip(out, place, strict=True):
            d = j - i * s
            value *= exp(-((d / s) ** 2)) / total if abs(d) <= s else 0.0
        return value

    @cache
    def pixels(depth, a, u, b, v):
        for place in (u, v):
            if not all(0 <= i < n for i, n in zip(place, sizes[depth], strict=True)):
                return 0.0
        if depth == 0:
            return sum(s * t for s, t in zip(images[a][u], images[b][v], strict=True))
        pooling = layers[depth - 1]["subsampling"], positions[depth - 1]
        total = 0.0
        for p in grid(positions[depth - 1]):
            if weight(u, p, *pooling):
                for q in grid(positions[depth - 1]):
                    if weight(v, q, *pooling):
                        weights = weight(u, p, *pooling) * weight(v, q, *pooling)
                        total += weights * response(depth - 1, a, p, b, q)
        return total

    @cache
    def patches(depth, a, p, b, q):
        k, before = layers[depth]["patch_size"], befores[depth]
        gap = layers[depth]["dilation"]
        return sum(
            pixels(
                depth,
                a,
                (p[0] - before[0] + gap * i, p[1] - before[1] + gap * j),
                b,
                (q[0] - before[0] + gap * i, q[1] - before[1] + gap * j),
            )
            for i, j in product(range(k), repeat=2)
        )

    @cache
    def response(depth, a, p, b, q):
        norms = sqrt(patches(depth, a, p, a, p)) * sqrt(patches(depth, b, q, b, q))
        if norms == 0:
            return 0.0
        return norms * kappa(patches(depth, a, p, b, q) / norms, layers[depth])

    return sum(pixels(len(layers), 0, u, 1, u) for u in grid(sizes[-1]))
