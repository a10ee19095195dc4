"""Architectures of published supervised networks."""

_COMMON = {
    # 1 / sigma^2 of sigma = 0.5
    "beta": 4.0,
    "head": "linear_svm",
    "n_epochs": 105,
    "batch_size": 128,
    "schedule": "step",
}

#: The networks for CIFAR-10 of Mairal (NIPS 2016), for images with whitened patches.
#: The learning rate of the paper, 0.1, is left out: it is that of plain stochastic
#: gradient descent, whereas ours is an angle.
PRESETS = {
    "mairal2016-5": {
        "n_anchors": (128,) * 5,
        "patch_size": (3, 1, 3, 1, 3),
        "subsampling": (2, 1, 2, 1, 3),
        "kernel": ("exp", "poly", "exp", "poly", "exp"),
        **_COMMON,
    },
    "mairal2016-14": {
        "n_anchors": (256, 128, 256, 128, *(256,) * 10),
        "patch_size": (3, 1) * 7,
        "subsampling": (1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 2),
        "kernel": ("exp", "poly") * 7,
        **_COMMON,
    },
}
