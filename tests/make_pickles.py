"""Write the models that tests/test_pickles.py loads, for a release.

python tests/make_pickles.py writes tests/pickles/VERSION.pkl, fitted models, and
tests/pickles/VERSION.npz, images and what the models made of them, and the same of
signals, images of height 1, in VERSION-signals. Run it with the oldest NumPy that is
supported, whose pickles every later one reads, and commit all of them: no later release
may change what they predict.
"""

import pickle
from pathlib import Path

import numpy as np

from sklearn_ckn import (
    CKNClassifier,
    CKNFeatures,
    SupervisedCKNClassifier,
    __version__,
)

PICKLES = Path(__file__).parent / "pickles"


def main():
    random_state = np.random.RandomState(0)
    images = random_state.randint(256, size=(24, 6, 6)).astype(np.float64)
    labels = np.array(["one", "two", "three"])[np.arange(24) % 3]
    images[labels == "two", :3] = 0
    images[labels == "three", :, :3] = 0
    write(__version__, images, labels)
    signals = random_state.normal(size=(24, 1, 12))
    signals[labels == "two", :, :4] += 3
    signals[labels == "three", :, 8:] += np.arange(4)
    write(f"{__version__}-signals", signals, labels)


def write(stem, images, labels):
    """Fit the models, and write them and what they make of some of the images."""
    models = {
        "features": CKNFeatures((4, 5), random_state=0),
        "classifier": CKNClassifier((4, 5), random_state=0),
        "supervised": SupervisedCKNClassifier((4, 5), n_epochs=2, random_state=0),
    }
    for model in models.values():
        model.fit(images, labels)
    images = images[:6]
    expected = {"images": images}
    expected["features"] = models["features"].transform(images)
    for name in ("classifier", "supervised"):
        model = models[name]
        expected[f"{name}_features"] = model.features_.transform(images)
        expected[f"{name}_decisions"] = model.decision_function(images)
        expected[f"{name}_labels"] = model.predict(images)
    PICKLES.mkdir(exist_ok=True)
    # In protocol 5 NumPy refers to a module that later versions have deprecated.
    (PICKLES / f"{stem}.pkl").write_bytes(pickle.dumps(models, protocol=4))
    np.savez_compressed(PICKLES / f"{stem}.npz", **expected)


if __name__ == "__main__":
    main()
