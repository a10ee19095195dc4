"""With every patch as an anchor, the features reproduce the exact kernel."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_ckn import CKNFeatures
from sklearn_ckn._engine import ArrayEngine
from sklearn_ckn._kernels import KERNELS, kernel_values


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_inner_products_equal_the_kernel_sum(kernel, padding):
    images = np.random.RandomState(0).randn(2, 6, 5, 2)
    features = CKNFeatures(
        n_anchors=1000,
        patch_size=3,
        subsampling=1,
        kernel=kernel,
        beta=1.5,
        padding=padding,
        nystrom_reg=1e-11,
        max_iter=0,
        random_state=0,
    )
    with pytest.warns(UserWarning, match="distinct patches"):
        features.fit(images)
    patches = ArrayEngine()._unfold(images, features._layers[0].settings)
    patches = patches.reshape(len(images), -1, patches.shape[-1])
    assert len(features.anchors_[0]) == patches.shape[0] * patches.shape[1]
    norms = np.linalg.norm(patches, axis=-1)
    units = patches / norms[..., None]
    values = kernel_values(np.einsum("iuk,juk->iju", units, units), kernel, 1.5)
    exact = np.einsum("iu,ju,iju->ij", norms, norms, values)
    maps = features.transform(images)
    assert_allclose(maps @ maps.T, exact, rtol=1e-6)
