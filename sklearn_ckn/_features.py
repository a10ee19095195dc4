"""CKNFeatures: images to convolutional kernel features, anchors from k-means."""

from dataclasses import replace
from typing import Self

from numpy.typing import ArrayLike
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._common.devices import computed_where_x_is, device_of
from sklearn_ckn._common.fitting import fitted_property, keep_fitted_on_error
from sklearn_ckn._common.output import PixelNamesMixin, RowOutputMixin
from sklearn_ckn._common.parameters import finite_number
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.progress import CallbackSupportMixin, start_task
from sklearn_ckn._common.types import (
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
from sklearn_ckn._learning.cache import resolve_memory, training_features
from sklearn_ckn._learning.layers import LearningOptions, learn_network
from sklearn_ckn._network.constraints import NETWORK_CONSTRAINTS
from sklearn_ckn._network.network import check_range, norm_growth, with_network
from sklearn_ckn._network.parameters import resolve_layers

#: Parameters of networks since version 0.1.0, from the old name to the new.
RENAMED_PARAMETERS = {"max_iter": "kmeans_max_iter", "tol": "kmeans_tol"}


class CKNFeatures(
    CallbackSupportMixin,
    PixelNamesMixin,
    RowOutputMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    VersionedEstimator,
):
    """Convolutional kernel network with anchors learned without labels.

    A layer takes the patches around every position, compares each with learned
    anchors by a dot-product kernel on the sphere, and pools the responses with a
    Gaussian (Mairal, NIPS 2016): with x a patch of norm r and Z the unit anchors,

    r kappa(Z x / r), pooled, times (kappa(Z Z^T) + nystrom_reg I)^(-1/2)

    (eq. 5 and 6), which approximates the feature map of a kernel between images. The
    anchors of each layer are the centers of a spherical k-means over patches
    sampled uniformly from all images and positions. The map is positively
    homogeneous: the unit of the images scales the features and does nothing else.

    Parameters
    ----------
    n_anchors : int or tuple of int, default=(64, 256)
        Number of anchors p; one value per layer, so its length is the number of
        layers. The parameters marked "per layer" below take one value for all
        layers or a tuple with one for each.
    patch_size : int or tuple of int, default=3
        Side k of the patches in pixels of the layer's input; per layer. Along an axis
        of length 1 patches have side 1.
    subsampling : int, "auto" or tuple of these, default="auto"
        Stride s of the pooling in positions, whose Gaussian has standard deviation
        s / sqrt(2); per layer. ``"auto"`` in a tuple is ceil(max(height, width) / 3)
        of that layer's map, which leaves a map of about 3 x 3; on its own it stands
        for 2 in every layer but the last and ``"auto"`` in the last.
    kernel : {"exp", "poly", "arccos1"} or tuple of these, default="exp"
        kappa(u) is exp(beta (u - 1)), u^2, or the arc-cosine kernel of order 1,
        which belongs to the ReLU; per layer.
    beta : float or tuple of float, default=2.8
        1 / sigma^2 of the kernel ``"exp"``, unused by the others; per layer.
    padding : {"same", "valid"} or tuple of these, default="same"
        Whether zeros surround the image, so that every pixel is a position. Axes
        shorter than a patch are padded either way; per layer.
    image_shape : tuple of int or None, default=None
        (height, width) or (height, width, channels) of images given as rows. With
        None, a row is one pixel with ``n_features`` channels, with a warning.
    nystrom_reg : float or tuple of float, default=1e-3
        Added to the eigenvalues of kappa(Z Z^T); per layer.
    n_patches : int, default=100_000
        Patches sampled for the anchors of each layer.
    kmeans_max_iter : int, default=0
        Largest number of k-means iterations; 0 keeps the k-means++ seeds, which
        are patches, as anchors. Iterations lower ``nystrom_residual_`` but seldom
        raise the accuracy of a classifier on the features.
    kmeans_tol : float, default=1e-4
        k-means stops when an iteration lowers its inertia by no more than this part.
    flip_average : bool, default=False
        Whether the features are the mean of those of the image and of its mirror
        image, left and right exchanged: the feature map of the kernel averaged over
        this flip (Haasdonk and Burkhardt, Machine Learning 2007). It takes
        twice the time, and helps where a mirror image shows the same thing: not for
        digits or letters.
    memory : str, path, joblib.Memory or None, default=None
        Where the anchors of layers are kept, as in :class:`sklearn.pipeline.Pipeline`:
        a folder or a Memory. A fit that finds a layer learned before, from the same
        images with the same ``random_state`` and the same parameters as far as they
        matter to it, looks it up. The first layer's anchors do not depend on its
        ``beta``, ``kernel``, ``subsampling`` or ``nystrom_reg``. What is
        damaged there is computed again, with a warning. Unused while ``random_state``
        is None.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where a NumPy array X is computed: ``"cuda"`` needs CuPy and an NVIDIA GPU, and
        ``"auto"`` takes a GPU where CuPy sees one. An array of CuPy is computed on its
        own GPU, whatever ``device`` is. Results follow X: NumPy arrays for NumPy,
        arrays of CuPy on the same GPU for CuPy. Fitted attributes are NumPy arrays.
    verbose : int, default=0
        1 prints a line per layer, 2 one per k-means iteration.
    random_state : int, RandomState instance or None, default=None
        Seeds the sampling of patches and the k-means; on the same kind of processor
        the same seed gives the same anchors to the bit, whatever the number of
        threads.

    Attributes
    ----------
    anchors_ : list of ndarray of shape (p, kh * kw * C)
        Unit rows, in (row, column, channel) order, of patches of height kh and width
        kw: ``patch_size``, and 1 along an axis of length 1; float64 for float64
        images, else float32. Fewer than ``n_anchors``, with a warning, where there are
        fewer distinct patches.
    betas_ : list of float
    subsampling_ : list of int
        ``"auto"`` resolved.
    image_shape_ : tuple of int
        (H, W, C).
    output_shape_ : tuple of int
        (H', W', p) of the last layer's map, which ``transform`` flattens.
    n_iter_ : int
        Largest of ``n_iter_per_layer_``.
    n_iter_per_layer_ : list of int
        Rounds of each layer's clustering: 1 for the seeding, which assigns every
        patch once, and 1 for each k-means iteration after it.
    inertia_ : list of float
        Sum of 1 - cosine between patches and nearest anchors, of each layer.
    nystrom_residual_ : list of float
        Mean of 1 - ||psi(x)||^2 over sampled unit patches x, of each layer: the
        part, between 0 and 1, of the kernel's feature map that the anchors miss.
        If it is large, more anchors or a smaller beta represent patches better.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X was a data frame with string column names.

    See Also
    --------
    CKNClassifier : These features and a linear head.
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
        subsampling: PerLayer[Subsampling] = "auto",
        kernel: PerLayer[Kernel] = "exp",
        beta: PerLayer[float] = 2.8,
        padding: PerLayer[Padding] = "same",
        image_shape: ImageShape = None,
        nystrom_reg: PerLayer[float] = 1e-3,
        n_patches: int = 100_000,
        kmeans_max_iter: int = 0,
        kmeans_tol: float = 1e-4,
        flip_average: bool = False,
        memory: MemoryLike = None,
        device: Device = "cpu",
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.n_anchors = n_anchors
        self.patch_size = patch_size
        self.subsampling = subsampling
        self.kernel = kernel
        self.beta = beta
        self.padding = padding
        self.image_shape = image_shape
        self.nystrom_reg = nystrom_reg
        self.n_patches = n_patches
        self.kmeans_max_iter = kmeans_max_iter
        self.kmeans_tol = kmeans_tol
        self.flip_average = flip_average
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
            Images, or rows with ``image_shape``. uint8 and float32 are computed in
            float32, everything else in float64. An array of NumPy or CuPy; lists,
            series and a data frame with one column may hold the images or rows.
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
        """
        task = start_task(self, None, X, y)
        with keep_fitted_on_error(self), device_of(X):
            engine = get_engine(self.device, X)
            images = check_images(self, X, reset=True)
            self._learn(images, engine, task)
        task.end()
        return self

    @fit_context
    def _fit_validated(self, images, engine):
        """Fit on images that another estimator has validated, and names set by it."""
        task = start_task(self, None, images.array)
        self._learn(images, engine, task)
        task.end()
        return self

    def _learn(self, images, engine, task):
        """Learn from validated images and set the fitted attributes."""
        self.image_shape_ = images.shape
        all_settings = resolve_layers(self.get_params(deep=False), images.shape)
        check_range(images, norm_growth(all_settings, images.shape))
        options = LearningOptions(
            n_patches=self.n_patches,
            max_iter=self.kmeans_max_iter,
            tol=finite_number("kmeans_tol", self.kmeans_tol),
            memory=resolve_memory(self.memory, self.random_state),
            verbose=self.verbose,
        )
        random_state = check_random_state(self.random_state)
        network, learned = learn_network(
            images, all_settings, options, random_state, engine, task
        )
        self.inertia_ = [each.inertia for each in learned]
        self.nystrom_residual_ = [each.residual for each in learned]
        self.n_iter_per_layer_ = [1 + each.n_iter for each in learned]
        self.n_iter_ = max(self.n_iter_per_layer_)
        self._network = replace(network, flip_average=self.flip_average)

    @computed_where_x_is
    def transform(self, X: ArrayLike) -> FloatArray:
        """Map images to their features.

        Memory stays at the output and a bounded amount, which follows
        scikit-learn's ``working_memory``, where X is C-ordered or rows: integers and
        booleans, in a memory-mapped file too, are converted block by block.

        Parameters
        ----------
        X : array-like of shape (n, H*W*C), (n, H, W) or (n, H, W, C)
            Images of the shape of those given to ``fit``, in any of the layouts.

        Returns
        -------
        features : array of shape (n, H' * W' * p)
            The maps of the last layer, flattened in the order of
            ``output_shape_``; float32 for uint8 and float32 images, float64 for
            others. An array of CuPy on the GPU of X if X is one, else of NumPy.

        Raises
        ------
        ValueError
            X is not as described, or so large that features may be infinite.

        Warns
        -----
        UserWarning
            There is no GPU for ``device="cuda"``, and the CPU computes.
        """
        # scikit-learn's check takes as long as a tenth of a small network.
        if not hasattr(self, "_network"):
            check_is_fitted(self)
        engine = get_prediction_engine(self.device, X)
        images = check_images(self, X, reset=False)
        encoder = self._encoder(images, engine)
        return encoder.features(images.array, namespace(images.array))

    def _encoder(self, images, engine):
        """Return the encoder of the fitted network for validated images."""
        check_range(images, self._network.norm_growth)
        return engine.bind(self._network, images.dtype)

    def _training_features(self, images, engine, task):
        """Return the features of the images of the fit, from memory if it has them."""
        memory = resolve_memory(self.memory, self.random_state)
        return training_features(self._encoder(images, engine), images, memory, task)

    @fitted_property
    def anchors_(self) -> list[FloatArray]:
        """Anchors of every layer, each (n_anchors, kh*kw*C) with unit rows."""
        return [layer.anchors for layer in self._network.layers]

    @fitted_property
    def betas_(self) -> list[float]:
        """Kernel parameter of every layer."""
        return [settings.beta for settings in self._network.settings]

    @fitted_property
    def subsampling_(self) -> list[int]:
        """Pooling stride of every layer, ``"auto"`` resolved."""
        return [settings.subsampling for settings in self._network.settings]

    @fitted_property
    def output_shape_(self) -> tuple[int, int, int]:
        """(H', W', p) of the last layer's map."""
        return self._network.output_shape

    @property
    def _n_features_out(self):
        return self._network.n_features

    @classmethod
    def _translate_state(cls, state):
        return super()._translate_state(with_network(state))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
