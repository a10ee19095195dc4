"""Draw the picture of the README: a digit and what a network computes from it.

Run with ``python docs/picture.py``; it writes ``docs/_static/network.png``.
"""

from pathlib import Path

from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from sklearn_ckn import AnchorsDisplay, CKNClassifier, FeatureMapDisplay

FILE = Path(__file__).parent / "_static" / "network.png"


def main():
    """Train a small network, and draw its maps and probabilities of an unseen digit."""
    digits = load_digits()
    network = CKNClassifier((36, 64), random_state=0)
    network.fit(digits.images[:1500], digits.target[:1500])
    image = digits.images[1558]
    figure = Figure(figsize=(12, 2.9), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=[1, 1, 1, 1, 0.8])
    FeatureMapDisplay.from_estimator(network, image, axes=axes[[0, 2, 3]])
    AnchorsDisplay.from_estimator(network, ax=axes[1])
    axes[4].barh(range(10), network.predict_proba(image[None])[0])
    axes[4].set(yticks=range(10), xlim=(0, 1), xticks=[0, 1])
    axes[4].invert_yaxis()
    titles = "image", "36 anchors", "layer 0", "layer 1", "probabilities"
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title)
    figure.savefig(FILE, dpi=90)


if __name__ == "__main__":
    main()
