import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from sklearn.datasets import load_digits

from sklearn_ckn._engine.cpu import CPUEngine, choose_instruction_set
from sklearn_ckn._engine.encoder import Encoder
from sklearn_ckn._engine.oracle import OracleEngine
from sklearn_ckn._ext import _cpu
from sklearn_ckn._network.layer import Layer
from sklearn_ckn._network.settings import LayerSettings

# The first example of a test can pay for imports and thread start-up.
# Engines keep nothing that a result depends on, so that examples may share one.
settings.register_profile(
    "ckn",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("ckn")

REFERENCE = Path(__file__).parent / "reference"


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def load_reference(name):
    """Return a reference file's arrays and the layers they describe."""
    with np.load(REFERENCE / f"{name}.npz") as archive:
        arrays = dict(archive)
    prefixes = [f"layer{i}_" for i in range(int(arrays.get("n_layers", 0)))] or [""]
    layers = []
    for prefix in prefixes:
        anchors = arrays[f"{prefix}anchors"]
        parameters = {
            name: arrays[prefix + name].item()
            for name in LayerSettings.__dataclass_fields__
            if prefix + name in arrays
        }
        settings = LayerSettings(n_anchors=len(anchors), **parameters)
        layers.append(Layer.from_anchors(settings, anchors))
    return arrays, layers


# All that this machine has, or the one that the environment names.
INSTRUCTION_SETS = (
    [choose_instruction_set()]
    if "SKLEARN_CKN_ISA" in os.environ
    else _cpu.instruction_sets()
)


@pytest.fixture(params=INSTRUCTION_SETS)
def cpu_engine(request):
    """The CPU engine with each instruction set."""
    return CPUEngine(request.param)


@pytest.fixture(params=[*INSTRUCTION_SETS, "array"])
def engine(request):
    return OracleEngine() if request.param == "array" else CPUEngine(request.param)


@pytest.fixture(scope="session")
def digits():
    """Eight-by-eight uint8 images and labels, in random order."""
    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    return data.images[order].astype(np.uint8), data.target[order]


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.fixture
def encodings(monkeypatch):
    """Count the images whose features are computed."""
    calls = []
    function = Encoder.features

    def counted(self, images, *arguments):
        calls.append(len(images))
        return function(self, images, *arguments)

    monkeypatch.setattr(Encoder, "features", counted)
    return calls
