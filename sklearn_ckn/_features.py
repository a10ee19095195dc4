"""CKNFeatures: convolutional kernel features, with anchors from k-means."""

from typing import Any, Literal, Self

from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import fitted_property, keep_fitted_on_error
from sklearn_ckn._common.output import PixelNamesMixin, RowOutputMixin, check_out
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.progress import CallbackSupportMixin, start_task
from sklearn_ckn._common.types import (
    Branches,
    Device,
    FloatArray,
    ImageShape,
    Kernel,
    MemoryLike,
    Padding,
    PerLayer,
    RandomState,
    Subsampling,
    fit_context,
)
from sklearn_ckn._engine.choice import get_engine, get_prediction_engine
from sklearn_ckn._input.images import check_images
from sklearn_ckn._learning.cache import warn_without_seed
from sklearn_ckn._learning.network_learner import NetworkLearner
from sklearn_ckn._network.constraints import NETWORK_CONSTRAINTS
from sklearn_ckn._network.network import (
    check_range,
    with_network,
)
from sklearn_ckn._signals import SignalsMixin

#: Parameters that had another name in version 0.1.0: old name to new name.
RENAMED_PARAMETERS = {"max_iter": "kmeans_max_iter", "tol": "kmeans_tol"}


class CKNFeatures(
    NetworkLearner,
    SignalsMixin,
    CallbackSupportMixin,
    PixelNamesMixin,
    RowOutputMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    VersionedEstimator,
):
    """Convolutional kernel network with anchors learned without labels.

    A layer compares the patches around all positions with learned anchors by a
    dot-product kernel kappa on the unit sphere, and pools the responses with a Gaussian
    (Mairal, NIPS 2016). For a patch x of norm r and unit anchors Z it computes

    r kappa(Z x / r), pooled, times (kappa(Z Z^T) + nystrom_reg I)^(-1/2)

    (eq. 5 and 6), which approximates the feature map of a kernel between images. The
    anchors are the centers of a spherical k-means of patches, sampled uniformly from
    all images and positions. The features are positively homogeneous in the images,
    unless ``normalize`` or not ``keep_norm``.

    Parameters
    ----------
    n_anchors : int or tuple of int, default=(64, 256)
        Number of anchors p of each layer; one value is one layer. The parameters marked
        "per layer" take one value for all layers, or a tuple with one for each layer.
    patch_size : int or tuple of int, default=3
        Side k of the patches in pixels of the layer's input, but 1 along an axis of
        length 1; per layer.
    dilation : int or tuple of int, default=1
        Patches take every ``dilation``-th pixel of the layer's input, k x k of them,
        and extend over (k - 1) ``dilation`` + 1 pixels (Yu and Koltun, ICLR 2016). 1
        stands for patches without gaps; per layer.
    subsampling : int, "auto", "global" or tuple of these, default="auto"
        Stride s of the pooling in positions, by a Gaussian with standard deviation
        s / sqrt(2); per layer. ``"auto"`` for a layer is ceil(max(height, width) / 3)
        of its map of positions, which gives an output of about 3 x 3. ``"global"`` is
        the mean over all positions, with equal weights, so that where a pattern lies in
        the image makes no difference. One ``"auto"`` or ``"global"`` for all layers is
        2 for each layer but the last, and this value for the last.
    kernel : {"exp", "poly", "arccos1"} or tuple of these, default="exp"
        kappa(u) is exp(beta (u - 1)), u^2, or the arc-cosine kernel of order 1, which
        corresponds to the ReLU; per layer.
    beta : float or tuple of float, default=2.8
        1 / sigma^2 of the kernel ``"exp"``; per layer. The other kernels ignore it.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether the layer's input is padded with zeros, so that every pixel is a
        position; per layer. Axes shorter than a patch, with its gaps, are always
        padded.
    center_patches : bool or tuple of bool, default=False
        Whether to take the mean of each channel over the pixels of a patch off every
        patch, the zeros around the layer's input included; per layer. Only the shape of
        a patch then counts and not its level, and patches that are constant count as
        zero. In the first layer the mean of each channel over the whole image is taken
        off before, so that an image is padded by its mean, and an offset makes no
        difference. Patches of one pixel cannot be centred.
    keep_norm : bool or tuple of bool, default=True
        Whether to multiply the responses of a patch by its norm, its contrast; per
        layer. With False, patches of any contrast count as much, but those of zeros
        stay zero: multiplying an image by a positive number does not change its
        features. Noise in faint parts of an image then counts as much as the rest.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows, or of
        signals (n, length, channels). With None, a row is one pixel with
        ``n_features`` channels, with a warning.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of the anchors' kernel matrix; per layer.
    n_patches : int, default=100_000
        Number of patches sampled to learn the anchors of each layer.
    kmeans_max_iter : int, default=0
        Maximum number of k-means iterations. With 0 the anchors are the patches chosen
        by k-means++. Iterations decrease ``nystrom_residual_``, but rarely increase the
        accuracy of a classifier on the features.
    kmeans_tol : float, default=1e-4
        Relative tolerance: k-means ends when an iteration decreases the inertia by no
        more than this fraction of it.
    differences : bool, default=False
        For signals, images of one row or column: whether to take the difference of each
        pixel from the one before instead of the pixel. Not with ``whitening``.
    whitening : float or None, default=None
        Power, from 0 to 0.5, of :class:`PatchWhitening` with its default ``patch_size``
        and ``reg``, applied to the images before the first layer. It removes brightness
        and gives more weight to fine detail and colour. With None, images are taken as
        they are. :class:`CKNClassifier` can choose it by the labels. The patches of the
        whitening have no gaps, whatever ``dilation`` is.
    flip_average : bool, default=False
        Whether to average the features of an image and of its left-right mirror image:
        the kernel's feature map averaged over flips (Haasdonk and Burkhardt, Machine
        Learning 2007). It takes twice the time, and does not suit digits or letters.
    normalize : float, default=0
        Power, from 0 to 1, of their norm by which the features of an image are divided.
        With 1 they have unit norm, so that the contrast of the image makes no
        difference, and the kernel k(x, y) becomes k(x, y) / sqrt(k(x, x) k(y, y)).
        With 0.5 the contrast counts less. Features of blank images stay zero.
    branches : list of dict, "signals" or None, default=None
        Networks side by side, whose features are joined. Each dict has parameters of
        one network by name, such as ``{"dilation": 2}``; it has the others from this
        estimator. The features of each branch are divided by one number, so that their
        variances over the training images have the sum 1. ``"signals"`` makes five
        branches for each of the dilations 1, 2, 4, ... with which a patch is no longer
        than the signal: one with ``beta`` 2, and of the signal and of its
        ``differences`` one with and one without ``keep_norm``, with ``center_patches``
        and ``beta`` 8.
    memory : str, path, joblib.Memory or None, default=None
        Cache of the learned anchors, as in :class:`sklearn.pipeline.Pipeline`. Layers
        with the same images, ``random_state`` and relevant parameters are not learned
        again. The first layer's anchors do not depend on its ``beta``, ``kernel``,
        ``subsampling`` or ``nystrom_reg``. Damaged entries are computed again, with a
        warning. Not used if ``random_state`` is None, with a warning.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints a line for each step of the fit, with its seconds, 2 also one per
        k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampling of patches and k-means. The same seed gives bit-identical
        anchors with any number of threads, on the same kind of processor.

    Attributes
    ----------
    anchors_ : list of ndarray of shape (p, kh * kw * C)
        Anchors of each layer as rows of unit norm, in (row, column, channel) order;
        float64 for float64 images, else float32. The sides kh and kw are 1 along an
        axis of length 1 of the layer's input, else k. There are fewer than
        ``n_anchors``, with a warning, if there are fewer distinct patches.
    betas_ : list of float
        ``beta`` of each layer.
    subsampling_ : list of int and "global"
        Stride of each layer; ``"auto"`` is replaced by its value.
    image_shape_ : tuple of int
        (H, W, C).
    output_shape_ : tuple of int
        (H', W', p) of the last layer's output, which ``transform`` flattens. With
        ``branches`` it is (1, 1, p), with p features in all.
    n_iter_ : int
        Maximum of ``n_iter_per_layer_``.
    n_iter_per_layer_ : list of int
        For each layer, 1 for k-means++ plus the number of k-means iterations.
    branches_ : list of CKNFeatures, or None
        The fitted branches. The other attributes that are lists have the values of all
        layers of all branches, one branch after the other.
    inertia_ : list of float
        Sum of 1 - cosine between patches and their nearest anchors, for each layer.
    nystrom_residual_ : list of float
        Mean of 1 - ||psi(x)||^2 over sampled unit patches x, for each layer: the part,
        from 0 to 1, of the kernel's feature map that the anchors do not represent. If
        it is large, use more anchors or a smaller beta.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : These features with a linear head.
    ckn_kernel : The kernel that their inner products approximate.
    SphericalKMeans : The clustering of the patches.

    References
    ----------
    J. Mairal, "End-to-End Kernel Learning with Supervised Convolutional Kernel
    Networks", NIPS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_ckn import CKNFeatures
    >>> images = load_digits().images
    >>> features = CKNFeatures(n_anchors=(16, 32), random_state=0).fit(images)
    >>> features.output_shape_, features.subsampling_
    ((2, 2, 32), [2, 2])
    >>> features.transform(images).shape
    (1797, 128)
    """

    _renamed_attributes = RENAMED_PARAMETERS
    _parameter_constraints = NETWORK_CONSTRAINTS

    def __init__(
        self,
        n_anchors: PerLayer[int] = (64, 256),
        *,
        patch_size: PerLayer[int] = 3,
        dilation: PerLayer[int] = 1,
        subsampling: PerLayer[Subsampling] = "auto",
        kernel: PerLayer[Kernel] = "exp",
        beta: PerLayer[float] = 2.8,
        padding: PerLayer[Padding] = "same",
        center_patches: PerLayer[bool] = False,
        keep_norm: PerLayer[bool] = True,
        image_shape: ImageShape = None,
        nystrom_reg: PerLayer[float] = 1e-3,
        n_patches: int = 100_000,
        kmeans_max_iter: int = 0,
        kmeans_tol: float = 1e-4,
        differences: bool = False,
        whitening: float | None = None,
        flip_average: bool = False,
        normalize: float = 0.0,
        branches: Branches = None,
        memory: MemoryLike = None,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.patch_size = patch_size
        self.dilation = dilation
        self.subsampling = subsampling
        self.kernel = kernel
        self.beta = beta
        self.padding = padding
        self.center_patches = center_patches
        self.keep_norm = keep_norm
        self.image_shape = image_shape
        self.nystrom_reg = nystrom_reg
        self.n_patches = n_patches
        self.kmeans_max_iter = kmeans_max_iter
        self.kmeans_tol = kmeans_tol
        self.differences = differences
        self.whitening = whitening
        self.flip_average = flip_average
        self.normalize = normalize
        self.branches = branches
        self.memory = memory
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @fit_context
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the anchors of every layer, one layer after the other.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images, or rows with ``image_shape``, as an array of NumPy, CuPy or Dask, an
            array in a file that is read when it is sliced (HDF5, Zarr), a list, a
            series or a data frame with one column. uint8 and float32 are computed in
            float32, all other dtypes in float64. A Dask array must be chunked along its
            first axis only.
        y : None
            Ignored.

        Returns
        -------
        self : CKNFeatures

        Raises
        ------
        ValueError
            X or a parameter is not as described.
        ImportError, RuntimeError
            ``device="cuda"`` without CuPy or a GPU.
        OSError
            Images in a file, or a block of a Dask array, cannot be read.
        """
        task = start_task(self, None, X, y)
        with keep_fitted_on_error(self), device_of(X):
            engine = get_engine(self.device, X)
            images = check_images(self, X, reset=True)
            warn_without_seed(self.memory, self.random_state)
            self._learn(images, engine, task)
        task.end()
        return self

    @computed_where_x_is
    def transform(self, X: ArrayLike, *, out: Any = None) -> FloatArray:
        """Compute the features of images.

        Memory holds the output and an amount bounded by scikit-learn's
        ``working_memory``: images are read and converted in blocks, in files too.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images of the same shape and in the same units as in ``fit``, in any of
            these layouts.
        out : array of shape (n, H' * W' * p) or None, default=None
            Where to write the features, block by block: an array, a memory-mapped file
            or an object to whose rows arrays can be assigned, such as a data set of
            HDF5 or an array of Zarr.

        Returns
        -------
        features : array of shape (n, H' * W' * p)
            Output of the last layer, flattened in the order of ``output_shape_``;
            float32 for uint8 and float32 images, else float64. An array of CuPy on the
            GPU of X if X is one, lazy of Dask if X is, else of NumPy. ``out`` itself if
            it is given.

        Raises
        ------
        ValueError
            X or ``out`` is not as described, or X is so large that features could be
            infinite.

        Warns
        -----
        UserWarning
            X seems to be in other units than the images of the fit, as of values from 0
            to 1 instead of 255. There is no GPU for ``device="cuda"``: the features are
            computed on the CPU.
        """
        # check_is_fitted takes some percent of the time of a small network.
        if not hasattr(self, "_network"):
            check_is_fitted(self)
        engine = get_prediction_engine(self.device, X)
        images = check_images(self, X, reset=False)
        array = images.array
        encoder = self._encoder(images, engine)
        if out is None:
            return encoder.features(array, namespace(array))
        check_out(out, (len(images), self._network.n_features), engine.xp)
        for rows, block in encoder.feature_blocks(array, namespace(out)):
            out[rows] = block
        return out

    def _encoder(self, images, engine):
        """Return the encoder of the fitted network for validated images."""
        check_range(images, self._network.norm_growth)
        # Models that were pickled by earlier versions have none.
        usual = getattr(self, "_usual", None)
        if usual is not None:
            usual.warn_of_units(images)
        return engine.bind(self._network, images.dtype)

    @fitted_property
    def anchors_(self) -> list[FloatArray]:
        """Anchors of each layer as rows of unit norm, (p, kh * kw * C)."""
        return [layer.anchors for layer in self._network.layers]

    @fitted_property
    def betas_(self) -> list[float]:
        """``beta`` of each layer."""
        return [settings.beta for settings in self._network.settings]

    @fitted_property
    def subsampling_(self) -> list[int | Literal["global"]]:
        """Stride of each layer; ``"auto"`` is replaced by its value."""
        return [settings.subsampling for settings in self._network.settings]

    @fitted_property
    def output_shape_(self) -> tuple[int, int, int]:
        """(H', W', p) of the last layer's output."""
        return self._network.output_shape

    @property
    def _n_features_out(self):
        return self._network.n_features

    @classmethod
    def _translate_state(cls, state):
        state = with_network(super()._translate_state(state))
        if "_network" in state and "branches_" not in state:
            # Version 0.1.0 had none.
            state = {**state, "branches_": None}
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
