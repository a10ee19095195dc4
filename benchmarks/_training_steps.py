"""Training steps of ours and of a peer in PyTorch, on the CPU or a GPU."""

from functools import cache

import numpy as np
import torch
from _torch_ckn import TorchLayer, torch_maps

from sklearn_ckn import CKNFeatures, SupervisedCKNClassifier
from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._engine.cpu import CPUEngine
from sklearn_ckn._heads.refit import TRAINING_LOSSES
from sklearn_ckn._training.head import Head
from sklearn_ckn._training.network import TrainedNetwork
from sklearn_ckn._training.objective import Objective


def preset_network(name):
    """Return the architecture of a preset."""
    names = ("n_anchors", "patch_size", "subsampling", "kernel", "beta")
    preset = SupervisedCKNClassifier.from_preset(name).get_params()
    return {name: preset[name] for name in names}


NETWORKS = {
    "a": {"n_anchors": (64, 256), "subsampling": (2, 6)},
    "b": {"n_anchors": (256, 1024), "subsampling": (2, 6)},
    "5 layers": preset_network("mairal2016-5"),
    "14 layers": preset_network("mairal2016-14"),
}
N_CLASSES = 10


class TorchClassifier(torch.nn.Module):
    """A network with a linear head."""

    def __init__(self, network, n_features):
        super().__init__()
        self.layers = torch.nn.Sequential(
            *(
                TorchLayer(settings, anchors)
                for settings, anchors in zip(
                    network.settings, network.anchors, strict=True
                )
            )
        )
        self.head = torch.nn.Linear(n_features, N_CLASSES)

    def forward(self, maps):
        """Return decisions (n, n_classes) of (n, C, H, W) images."""
        maps = self.layers(maps)
        return self.head(maps.permute(0, 2, 3, 1).flatten(1))


@cache
def make_problem(name, batch_size):
    """Return a network, a head, images and targets."""
    rng = np.random.RandomState(0)
    images = rng.uniform(size=(batch_size, 32, 32, 3)).astype(np.float32)
    features = CKNFeatures(n_patches=2000, random_state=0, **NETWORKS[name])
    features.fit(images[:16])
    network = TrainedNetwork.from_network(features._network)
    n_features = int(np.prod(features.output_shape_))
    theta = 0.1 * rng.randn(n_features + 1, N_CLASSES)
    head = Head(theta, np.zeros(n_features), 1.0)
    targets = np.where(
        rng.randint(N_CLASSES, size=(batch_size, 1)) == np.arange(10), 1, -1
    )
    return network, head, images, targets


def our_step(name, batch_size, engine=None, dtype=np.float32):
    """Return a function that computes our gradients, by an engine or else the CPU's."""
    # As in training, one engine for all steps.
    engine = CPUEngine() if engine is None else engine
    xp = engine.xp
    network, head, images, targets = make_problem(name, batch_size)
    weights = xp.full((batch_size, 1), 1 / batch_size)
    images, targets = xp.asarray(images, dtype=dtype), xp.asarray(targets)
    head = Head(xp.asarray(head.theta), xp.asarray(head.mean), head.scale)
    network = TrainedNetwork.from_network(network.network, xp)
    objective = Objective(TRAINING_LOSSES["linear_svm"], engine)

    def step():
        # The peer, too, decomposes the kernel matrices in every step.
        moved = network.moved(network.anchors, network.betas)
        return objective.gradients(moved, head, images, targets, weights)

    return step


def adapted_intercepts(name, batch_size):
    """Return the intercepts that our step adapts to the batch before its gradients."""
    return our_step(name, batch_size)().response.head.theta[-1]


def torch_step(
    name, batch_size, compiled, device="cpu", channels_last=False, intercepts=None
):
    """Return a function that computes the peer's gradients on a device of PyTorch.

    The peer does not adapt intercepts. Its gradients are ours with ``intercepts`` from
    ``adapted_intercepts``; without them it takes those that ours start from, which
    changes no time.
    """
    network, head, images, targets = make_problem(name, batch_size)
    if intercepts is None:
        intercepts = head.theta[-1]
    model = TorchClassifier(network, len(head.theta) - 1)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor(head.theta[:-1].T))
        model.head.bias.copy_(torch.tensor(intercepts))
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(device, memory_format=memory_format)
    maps = torch_maps(images, channels_last=channels_last, device=device)
    targets = torch.tensor(targets, device=device)

    def loss_of(maps):
        slack = (1 - targets * model(maps)).clamp(min=0)
        return (slack * slack).sum() / 2 / batch_size

    function = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def step():
        model.zero_grad(set_to_none=True)
        function(maps).backward()
        return [layer.anchors.grad for layer in model.layers]

    return step


def our_gradients(step):
    """Return each layer's gradient with respect to its anchors as NumPy arrays."""
    return [to_numpy(gradient) for gradient in step().anchors]


def torch_gradients(step):
    """Return the same of the peer."""
    return [
        gradient.permute(0, 2, 3, 1).flatten(1).cpu().numpy().astype(np.float64)
        for gradient in step()
    ]


def largest_difference(gradients, expected):
    """Return the largest relative difference (l2) of a layer's gradients."""
    return max(
        np.linalg.norm(left - right) / np.linalg.norm(right)
        for left, right in zip(gradients, expected, strict=True)
    )


def difference(name):
    """Return how far ours and the peer's gradients are apart."""
    peer = torch_step(name, 16, False, intercepts=adapted_intercepts(name, 16))
    return largest_difference(our_gradients(our_step(name, 16)), torch_gradients(peer))
