"""
Saving a model and using it in a server
=======================================

A fitted estimator is a Python object that contains NumPy arrays. joblib writes it to a
file, and another process can load it. On the same kind of processor, the loaded model
gives the same probabilities for the same batch, to the bit.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_ckn import CKNClassifier

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images.astype(np.float32), digits.target, random_state=0
)
classifier = CKNClassifier(random_state=0).fit(X_train, y_train)

folder = TemporaryDirectory()
path = Path(folder.name) / "digits.joblib"
joblib.dump(classifier, path)
print(f"file: {path.stat().st_size / 2**20:.2f} MB")

# %%
# The server loads the file once. With ``mmap_mode="r"`` the arrays stay in the file,
# and several processes share one copy of them. This needs a file without compression.

served = joblib.load(path, mmap_mode="r")
expected = classifier.predict_proba(X_test)
print("the same to the bit:", np.array_equal(served.predict_proba(X_test), expected))

# %%
# The features of an image depend neither on the other images of the batch nor on the
# number of threads. A server can therefore process a request alone or together with
# others.

features = served.features_
together = features.transform(X_test[:32])
alone = np.concatenate([features.transform(image[np.newaxis]) for image in X_test[:32]])
print("features in a batch and alone the same:", np.array_equal(together, alone))

# %%
# The first request prepares the layers of the network, which takes as long as several
# images. They stay prepared as long as the model exists: send one image to a model
# before the server takes requests. Each call also checks its input, and that costs some
# time. A batch of images pays for it once. The times below are from the machine that
# built this page.


def milliseconds_per_image(batch, n_repeats):
    """Return the median time of predict_proba over the number of images."""
    seconds = []
    for _ in range(n_repeats):
        start = perf_counter()
        served.predict_proba(batch)
        seconds.append(perf_counter() - start)
    return 1e3 * np.median(seconds) / len(batch)


import matplotlib.pyplot as plt

sizes = [1, 2, 5, 10, 20, 50, 100, 200, 400]
times = [milliseconds_per_image(X_test[:size], 20) for size in sizes]
print(f"one image:  {times[0]:.3f} ms")
print(f"400 images: {times[-1]:.3f} ms an image")
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.loglog(sizes, times, "o-")
axis.set(xlabel="images in a request", ylabel="ms an image")
plt.show()

# %%
# A server should reject input that it cannot process. Images of another shape, missing
# values and text raise ``ValueError`` before anything is computed:

for broken in (X_test[:1, :7], np.full((1, 8, 8), np.nan)):
    try:
        served.predict(broken)
    except ValueError as error:
        print(str(error).splitlines()[0])

# %%
# A server should also know when a prediction is uncertain. The probabilities are
# calibrated on predictions for held-out images, so a threshold on them is meaningful:

predicted = served.classes_[expected.argmax(axis=1)]
sure = expected.max(axis=1) >= 0.9
print(f"probability of at least 0.9: {100 * sure.mean():.1f} % of the test digits")
print(f"accuracy on these: {100 * np.mean(predicted[sure] == y_test[sure]):.2f} %")
if not sure.all():
    right = predicted[~sure] == y_test[~sure]
    print(f"accuracy on the others: {100 * right.mean():.0f} %")

# %%
# Two warnings. Loading a pickle can run any code: load files only from people whom you
# trust. And a pickle records the version of sklearn-ckn that wrote it. Another version
# warns with :class:`~sklearn_ckn.InconsistentVersionWarning`, and scikit-learn warns in
# the same way for its own estimators. Keep the data and the code to fit the model
# again; with a ``random_state`` the new fit gives the same anchors.

folder.cleanup()
