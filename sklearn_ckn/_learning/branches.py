"""Branches, which are networks side by side: parameters, and scales of features."""

from collections.abc import Mapping

import numpy as np

from sklearn_ckn._common.arrays import to_numpy

#: Parameters of the whole estimator, which a branch cannot have.
SHARED = {"branches", "image_shape", "memory", "device", "verbose", "random_state"}

#: Number of images from which the scale of a branch's features is computed.
SCALE_IMAGES = 512

# Features whose standard deviation is a smaller part of their root mean square are
# constant up to the rounding of float32.
SMALLEST_DEVIATION = 1e-5

#: The branches of signals, for each dilation. With the norm, patches of high contrast
#: count most. Without it all patches count alike, and a sharper kernel tells them
#: apart.
SIGNAL_BRANCHES = tuple(
    {"center_patches": True, "differences": differences, **kernel}
    for differences in (False, True)
    for kernel in (
        {"keep_norm": True, "beta": 2.0},
        {"keep_norm": False, "beta": 8.0},
    )
)


def resolve_branches(parameters, image_shape):
    """Return the parameters of each branch, by name.

    Parameters
    ----------
    parameters : dict
        Of a CKNFeatures. ``branches`` is a sequence of mappings, or "signals".
    image_shape : tuple of int
        (H, W, C).

    Returns
    -------
    branches : list of dict
        The parameters, in each of which a branch has replaced some.

    Raises
    ------
    ValueError
        ``branches`` is empty, or names what is no parameter of a branch; or it is
        "signals", and the images are no signals.
    TypeError
        A branch is not a mapping.
    """
    branches = parameters["branches"]
    own = {name: value for name, value in parameters.items() if name not in SHARED}
    if isinstance(branches, str):
        branches = signal_branches(own["patch_size"], image_shape)
    if len(branches) == 0:
        raise ValueError("branches is empty: give one branch or more, or None.")
    resolved = []
    for i, branch in enumerate(branches):
        if not isinstance(branch, Mapping):
            raise TypeError(
                f"branches[{i}] must be a dict of parameters, such as "
                f'{{"dilation": 2}}, got {type(branch).__name__}.'
            )
        unknown = [name for name in branch if name not in own]
        if unknown:
            raise ValueError(
                f"branches[{i}] has the key {unknown[0]!r}: it must be one of "
                f"{', '.join(own)}."
            )
        resolved.append({**own, **branch})
    return resolved


def signal_branches(patch_size, image_shape):
    """Return ``SIGNAL_BRANCHES`` for the dilations 1, 2, 4, ... of a signal.

    With the largest dilation a patch extends over the signal at most once (Dempster et
    al., KDD 2021, sect. 3.1).

    Parameters
    ----------
    patch_size : int
    image_shape : tuple of int
        (H, W, C), where H or W is 1.
    """
    if 1 not in image_shape[:2]:
        raise ValueError(
            'branches="signals" needs signals, images of one row or one column, got '
            f"images of {image_shape[0]} x {image_shape[1]}: give a list of branches."
        )
    if not isinstance(patch_size, int | np.integer):
        raise ValueError(
            'branches="signals" has one layer: patch_size must be an integer, got '
            f"{patch_size!r}."
        )
    largest = (max(image_shape[:2]) - 1) // max(patch_size - 1, 1)
    dilations = [2**i for i in range(max(largest, 1).bit_length())]
    return [
        {"dilation": dilation, **branch}
        for dilation in dilations
        for branch in SIGNAL_BRANCHES
    ]


def feature_scale(encoder, images, random_state):
    """Return the factor that gives the features of a branch a total variance of 1.

    Parameters
    ----------
    encoder : Encoder
        Of the branch.
    images : Images
        Training images; the variance is that of SCALE_IMAGES of them.
    random_state : RandomState
        Chooses them.

    Returns
    -------
    scale : float
        0 if the features are constant up to rounding.
    """
    n_images = len(images)
    chosen = np.arange(n_images)
    if n_images > SCALE_IMAGES:
        chosen = np.sort(random_state.choice(n_images, SCALE_IMAGES, replace=False))
    # float64 represents squares of float32 numbers of any scale.
    features = np.concatenate(
        [
            to_numpy(maps).reshape(len(maps), -1).astype(np.float64)
            for _, maps in encoder.blocks(images.array, chosen=chosen)
        ]
    )
    mean = features.mean(axis=0)
    deviation = np.sqrt(((features - mean) ** 2).sum(axis=1).mean())
    size = np.sqrt((features**2).sum(axis=1).mean())
    return 1 / deviation if deviation > SMALLEST_DEVIATION * size else 0.0
