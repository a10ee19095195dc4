"""Both engines against float64 vectors made with an automatic-differentiation code."""

import pytest
from conftest import REFERENCE, load_reference, relative_error
from numpy.testing import assert_allclose
from on_engines import encode

from sklearn_ckn._engine.oracle import ArraySteps

LAYERS = sorted(path.stem for path in REFERENCE.glob("layer_*.npz"))
NETWORKS = sorted(path.stem for path in REFERENCE.glob("net_*.npz"))


def test_the_reference_files_are_there():
    assert len(LAYERS) == 5
    assert len(NETWORKS) == 3


@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-12), ("f4", 3e-6)])
@pytest.mark.parametrize("name", LAYERS + NETWORKS)
def test_maps(name, dtype, tolerance, engine):
    arrays, layers = load_reference(name)
    expected = arrays["output"] if name in LAYERS else arrays["features"]
    maps = encode(engine, arrays["images"].astype(dtype), layers)
    assert maps.dtype == dtype
    assert relative_error(maps.reshape(expected.shape), expected) < tolerance


@pytest.mark.parametrize("name", LAYERS)
def test_steps(name):
    arrays, (layer,) = load_reference(name)
    images, settings = arrays["images"], layer.settings
    shape = (len(images), *settings.response_shape(images.shape[1:]))
    steps = ArraySteps()
    mean = layer.anchors.mean(axis=0)
    patches, scalars = steps.unfold(images, mean, settings)
    products = patches @ (layer.anchors - mean).T
    results = {
        "responses": steps.respond(products, scalars, settings).reshape(*shape, -1),
        "pooled": steps.respond_and_pool(products, scalars, shape, settings, "f8"),
    }
    assert_allclose(layer.projection, arrays["inverse_sqrt"], rtol=1e-10, atol=1e-12)
    for step in results:
        assert relative_error(results[step], arrays[step]) < 1e-12
