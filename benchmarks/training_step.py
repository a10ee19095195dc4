"""One training step, forward and backward, against a CKN written in PyTorch.

The peer computes the same network with automatic differentiation, in channels-first
order, pools before it projects, and takes the gradient through the inverse square
root by the right formula; ``--compiled`` adds it under ``torch.compile``. Both compute
the gradients of the mean squared hinge loss in all anchors, of the same images with the
same parameters, and ours those of the head; the table ends with how far they are apart.
Times are the best over batch sizes of seconds per image, medians of alternating runs;
memory is by how much three steps of the largest batch raise a fresh process's peak. Run
with ``python benchmarks/training_step.py``; PyTorch is needed.
"""

import argparse

import numpy as np
import torch
from _timing import alternate, in_process
from torch.nn import functional

from sklearn_ckn import CKNFeatures
from sklearn_ckn._engine import CPUEngine
from sklearn_ckn._heads import TRAINING_LOSSES
from sklearn_ckn._layer import pooling_taps
from sklearn_ckn._training._network import TrainedNetwork
from sklearn_ckn._training._objective import Head, batch_gradients

NETWORKS = {
    "64, 256": {"n_anchors": (64, 256), "subsampling": (2, 6)},
    "5 layers": {
        "n_anchors": (128,) * 5,
        "patch_size": (3, 1, 3, 1, 3),
        "subsampling": (2, 1, 2, 1, 3),
        "kernel": ("exp", "poly", "exp", "poly", "exp"),
        "beta": 4.0,
    },
}
N_CLASSES = 10


class InverseSquareRoot(torch.autograd.Function):
    """(K + eps I)^(-1/2) and its gradient by the Sylvester equation of its square."""

    @staticmethod
    def forward(context, matrix, regularization):
        """Decompose in float64."""
        values, vectors = torch.linalg.eigh(matrix.double())
        roots = torch.sqrt(values.clamp(min=0) + regularization)
        context.save_for_backward(vectors, roots)
        return ((vectors / roots) @ vectors.T).to(matrix.dtype)

    @staticmethod
    def backward(context, slopes):
        """Return the gradient in the matrix."""
        vectors, roots = context.saved_tensors
        slopes = slopes.double()
        rotated = vectors.T @ ((slopes + slopes.T) / 2) @ vectors
        rotated /= (roots[:, None] + roots) * (roots[:, None] * roots)
        return (-vectors @ rotated @ vectors.T).float(), None


class TorchNetwork(torch.nn.Module):
    """The layers of a network as a PyTorch module, with a linear head."""

    def __init__(self, network, n_features):
        super().__init__()
        self.settings = network.settings
        self.anchors = torch.nn.ParameterList()
        for settings, anchors in zip(network.settings, network.anchors, strict=True):
            k = settings.patch_size
            maps = anchors.reshape(len(anchors), k, k, -1).transpose(0, 3, 1, 2)
            self.anchors.append(torch.tensor(np.ascontiguousarray(maps)).float())
        self.head = torch.nn.Linear(n_features, N_CLASSES)

    def layer(self, maps, anchors, settings):
        """Apply one layer to (n, C, H, W) maps."""
        k, s = settings.patch_size, settings.subsampling
        pad = (k - 1) // 2
        products = functional.conv2d(maps, anchors, padding=pad)
        squares = (maps * maps).sum(1, keepdim=True)
        ones = torch.ones(1, 1, k, k)
        norms = functional.conv2d(squares, ones, padding=pad).clamp(min=1e-30).sqrt()
        flat = anchors.flatten(1)
        if settings.kernel == "exp":
            responses = norms * torch.exp(settings.beta * (products / norms - 1))
            gram = torch.exp(settings.beta * (flat @ flat.T - 1))
        else:
            responses = products * products / norms
            gram = (flat @ flat.T) ** 2
        if s > 1:
            p = len(anchors)
            taps = torch.tensor(pooling_taps(s)).float()
            down = taps.reshape(1, 1, -1, 1).expand(p, 1, -1, 1)
            along = taps.reshape(1, 1, 1, -1).expand(p, 1, 1, -1)
            responses = functional.conv2d(
                responses, down, stride=(s, 1), padding=(s, 0), groups=p
            )
            responses = functional.conv2d(
                responses, along, stride=(1, s), padding=(0, s), groups=p
            )
        root = InverseSquareRoot.apply(gram, settings.nystrom_reg)
        return functional.conv2d(responses, root[:, :, None, None])

    def forward(self, maps):
        """Return decisions (n, n_classes)."""
        for anchors, settings in zip(self.anchors, self.settings, strict=True):
            maps = self.layer(maps, anchors, settings)
        return self.head(maps.permute(0, 2, 3, 1).flatten(1))


def make_problem(name, batch_size):
    """Return a network, a head, images and targets."""
    rng = np.random.RandomState(0)
    images = rng.uniform(size=(batch_size, 32, 32, 3)).astype(np.float32)
    features = CKNFeatures(n_patches=2000, random_state=0, **NETWORKS[name])
    features.fit(images[:16])
    network = TrainedNetwork.from_layers(features._layers)
    n_features = int(np.prod(features.output_shape_))
    theta = 0.1 * rng.randn(n_features + 1, N_CLASSES)
    head = Head(theta, np.zeros(n_features), 1.0)
    targets = np.where(
        rng.randint(N_CLASSES, size=(batch_size, 1)) == np.arange(10), 1, -1
    )
    return network, head, images, targets


def our_step(name, batch_size):
    """Return a function that computes our gradients."""
    network, head, images, targets = make_problem(name, batch_size)
    weights = np.full((batch_size, 1), 1 / batch_size)

    def step():
        # The peer, too, decomposes the kernel matrices in every step.
        moved = network.moved(network.anchors, network.betas)
        return batch_gradients(
            moved,
            head,
            TRAINING_LOSSES["linear_svm"],
            images,
            targets,
            weights,
            CPUEngine(),
        )

    return step


def torch_step(name, batch_size, compiled):
    """Return a function that computes the peer's gradients."""
    network, head, images, targets = make_problem(name, batch_size)
    model = TorchNetwork(network, len(head.theta) - 1)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor(head.theta[:-1].T))
        model.head.bias.copy_(torch.tensor(head.theta[-1]))
    maps = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
    targets = torch.tensor(targets)

    def loss_of(maps):
        slack = (1 - targets * model(maps)).clamp(min=0)
        return (slack * slack).sum() / 2 / batch_size

    function = torch.compile(loss_of) if compiled else loss_of

    def step():
        model.zero_grad(set_to_none=True)
        function(maps).backward()
        return [anchors.grad for anchors in model.anchors]

    return step


def difference(name):
    """Return the relative difference of ours and the peer's anchor gradients."""
    ours = our_step(name, 16)().anchors
    theirs = [
        slopes.permute(0, 2, 3, 1).flatten(1).numpy()
        for slopes in torch_step(name, 16, False)()
    ]
    return max(
        np.linalg.norm(left - right) / np.linalg.norm(right)
        for left, right in zip(ours, theirs, strict=True)
    )


def _ready(kind, name, batch_size):
    makers = {"ours": our_step, "eager": torch_step, "compiled": torch_step}
    extra = () if kind == "ours" else (kind == "compiled",)
    return (makers[kind](name, batch_size, *extra),)


def _run_three(step):
    for _ in range(3):
        step()


class _Prepare:
    """What a fresh process prepares; a class, so that it can be sent there."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __call__(self):
        return _ready(*self.arguments)


def peak_growth(kind, name, batch_size):
    """Return by how many MB three steps raise a fresh process's peak memory."""
    _, _, before, peak = in_process(_Prepare(kind, name, batch_size), _run_three)
    return peak - before


def main():
    """Time the steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compiled", action="store_true")
    arguments = parser.parse_args()
    kinds = ["ours", "eager"] + ["compiled"] * arguments.compiled
    print("network  | step     | best batch | ms/image | over ours | memory MB")
    print("---------|----------|------------|----------|-----------|----------")
    # First of all: a process starts with the peak of the one that starts it.
    memory = {
        (name, kind): peak_growth(kind, name, max(arguments.batch_sizes))
        for name in NETWORKS
        for kind in kinds
    }
    for name in NETWORKS:
        steps = {}
        for kind in kinds:
            for batch_size in arguments.batch_sizes:
                (step,) = _ready(kind, name, batch_size)
                step()
                steps[kind, batch_size] = step
        seconds = alternate(steps, arguments.repeats)
        per_image = {key: value / key[1] for key, value in seconds.items()}
        best = {
            kind: min(
                (each, key[1]) for key, each in per_image.items() if key[0] == kind
            )
            for kind in kinds
        }
        del steps
        for kind in kinds:
            each, batch_size = best[kind]
            print(
                f"{name:8} | {kind:8} | {batch_size:10} | {1000 * each:8.3f} | "
                f"{each / best['ours'][0]:9.2f} | {memory[name, kind]:9.0f}",
                flush=True,
            )
        print(f"{name:8} | largest relative difference {difference(name):.1e}")


if __name__ == "__main__":
    main()
