"""A small convolutional network in PyTorch, a peer of the other models."""

import copy
import math

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from torch import nn

WIDTHS = (32, 64, 128)
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
#: Pixels by which training images are shifted at most.
MAX_SHIFT = 2
MAX_EPOCHS = 60
#: Pixels that all epochs together may read, which bounds the time.
MAX_PIXELS = 2e8
VALIDATION_FRACTION = 0.15


def build_network(n_channels, n_classes):
    """Return three blocks of convolution and pooling, and a linear layer."""
    layers = []
    for n_inputs, n_outputs in zip((n_channels, *WIDTHS[:-1]), WIDTHS, strict=True):
        layers += [
            nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    layers += [
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(9 * WIDTHS[-1], n_classes),
    ]
    return nn.Sequential(*layers)


def shift(images, generator):
    """Return images each shifted by some pixels, their borders repeated."""
    n, _, height, width = images.shape
    padded = nn.functional.pad(images, (MAX_SHIFT,) * 4, mode="replicate")
    starts = torch.randint(2 * MAX_SHIFT + 1, (2, n, 1), generator=generator)
    rows = (starts[0] + torch.arange(height))[:, :, None]
    columns = (starts[1] + torch.arange(width))[:, None, :]
    # Channels stay last in an array that is indexed before and after them.
    shifted = padded[torch.arange(n)[:, None, None], :, rows, columns]
    return shifted.permute(0, 3, 1, 2)


class ConvolutionalClassifier(ClassifierMixin, BaseEstimator):
    """Small convolutional network, with the weights of its best or its last epoch.

    Adam with a rate that falls along a cosine to 0, training images shifted at random.
    Of the training images 15 % are held out; the epoch of highest accuracy on these,
    and of lowest loss among equals, is kept. With a given number of epochs, all images
    train, and the last epoch is kept.

    Parameters
    ----------
    random_state : int
    n_threads : int
    n_epochs : int or None, default=None

    Attributes
    ----------
    chosen_ : str
        The epoch that was kept.
    """

    def __init__(self, random_state, n_threads, n_epochs=None):
        self.random_state = random_state
        self.n_threads = n_threads
        self.n_epochs = n_epochs

    def fit(self, X, y):
        """Train, and keep the best or the last epoch."""
        torch.set_num_threads(self.n_threads)
        torch.manual_seed(self.random_state)
        generator = torch.Generator().manual_seed(self.random_state)
        self.classes_, labels = np.unique(y, return_inverse=True)
        rows, held_out = np.arange(len(y)), None
        if self.n_epochs is None:
            rows, held_out = train_test_split(
                rows,
                test_size=VALIDATION_FRACTION,
                stratify=y,
                random_state=self.random_state,
            )
        values = X[rows].reshape(-1, 1 if X.ndim == 3 else X.shape[3]) / 255
        self._mean, self._scale = values.mean(axis=0), values.std(axis=0)
        images, labels = self._prepare(X), torch.from_numpy(labels)
        self._network = build_network(images.shape[1], len(self.classes_))
        self._network.to(memory_format=torch.channels_last)
        height, width = X.shape[1:3]
        n_epochs = math.ceil(MAX_PIXELS / (len(rows) * height * width))
        n_epochs = self.n_epochs or min(MAX_EPOCHS, n_epochs)
        optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
        best = (-1.0, 0.0)
        for epoch in range(n_epochs):
            self._train(images[rows], labels[rows], optimizer, generator)
            scheduler.step()
            if held_out is None:
                continue
            quality = self._quality(images[held_out], labels[held_out])
            if quality > best:
                best, self.chosen_ = quality, f"epoch {epoch + 1} of {n_epochs}"
                weights = copy.deepcopy(self._network.state_dict())
        if held_out is None:
            self.chosen_ = f"epoch {n_epochs} of {n_epochs}"
        else:
            self._network.load_state_dict(weights)
        return self

    def _prepare(self, X):
        channels = X if X.ndim == 4 else X[..., np.newaxis]
        images = ((channels / 255 - self._mean) / self._scale).astype(np.float32)
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def _train(self, images, labels, optimizer, generator):
        self._network.train()
        order = torch.randperm(len(labels), generator=generator)
        # All about as large: of one image, batch normalization has no variance.
        for batch in order.tensor_split(math.ceil(len(labels) / BATCH_SIZE)):
            optimizer.zero_grad()
            decisions = self._network(shift(images[batch], generator))
            nn.functional.cross_entropy(decisions, labels[batch]).backward()
            optimizer.step()

    def _quality(self, images, labels):
        decisions = self._decide(images)
        loss = nn.functional.cross_entropy(decisions, labels).item()
        accuracy = (decisions.argmax(dim=1) == labels).float().mean().item()
        return accuracy, -loss

    @torch.no_grad()
    def _decide(self, images):
        self._network.eval()
        return torch.cat([self._network(batch) for batch in images.split(500)])

    def predict(self, X):
        """Return the classes of images."""
        return self.classes_[self._decide(self._prepare(X)).argmax(dim=1).numpy()]
