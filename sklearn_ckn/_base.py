"""NetworkPredictor: base class of the estimators with a network and a linear head."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.fitting import fitted_property
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.progress import CallbackSupportMixin
from sklearn_ckn._common.types import FloatArray
from sklearn_ckn._engine.choice import get_prediction_engine
from sklearn_ckn._features import RENAMED_PARAMETERS, CKNFeatures
from sklearn_ckn._input.images import check_images

#: Names of the parameters of CKNFeatures.
NETWORK_PARAMETERS = tuple(CKNFeatures._get_param_names())


class NetworkPredictor(CallbackSupportMixin, VersionedEstimator):
    """Base class of the estimators that fit a linear head to the features of a network.

    They have the parameters of CKNFeatures and those of the head.
    """

    _renamed_attributes = RENAMED_PARAMETERS

    features_: CKNFeatures
    image_shape_: tuple[int, int, int]
    n_iter_: int

    def _learn_features(self, images, engine, task):
        """Learn ``features_`` and return the features of the images, in a list.

        The images are already validated, and ``features_`` gets the input names that
        the validation has set. The learning and the encoding are two subtasks of
        ``task``. ``fit_in_memory`` can replace the array in the list.
        """
        parameters = {name: getattr(self, name) for name in NETWORK_PARAMETERS}
        self.image_shape_ = parameters["image_shape"] = images.shape
        self.features_ = CKNFeatures(**parameters)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(self.features_, name, getattr(self, name))
        with task.fit_by(self.features_, "fit features"):
            self.features_._fit_validated(images, engine)
        self.n_iter_ = self.features_.n_iter_
        with task.subtask("transform training images", None) as step:
            return [self.features_._training_features(images, engine, step)]

    def _apply_head(self, X, function):
        """Apply a function to the features of images, block by block.

        Memory therefore never holds the features of all images.

        Parameters
        ----------
        X : array-like of images
        function : callable
            Maps an array of features to a tuple of arrays with the same number of rows.

        Returns
        -------
        results : list of array
            NumPy arrays if X is one, else as returned by ``function``.
        """
        check_is_fitted(self)
        # The parameter of this estimator: ``features_`` has the value of the fit.
        engine = get_prediction_engine(self.device, X)
        images = check_images(self, X, reset=False)
        encoder = self.features_._encoder(images, engine)
        blocks = encoder.feature_blocks(images.array)
        parts = [function(block) for _, block in blocks]
        results = [
            namespace(*arrays).concatenate(arrays)
            for arrays in zip(*parts, strict=True)
        ]
        return (
            list(map(to_numpy, results)) if namespace(images.array) is np else results
        )

    @fitted_property
    def coef_(self) -> FloatArray:
        """Weights of the features before standardization."""
        return self.head_.coef_

    @fitted_property
    def intercept_(self) -> FloatArray:
        """Intercepts of the head."""
        return self.head_.intercept_

    @fitted_property
    def alpha_(self) -> float:
        """The alpha that was chosen."""
        return self.head_.alpha_

    @fitted_property
    def alphas_(self) -> FloatArray:
        """The alphas that were tried, in descending order."""
        return self.head_.alphas_

    @fitted_property
    def alpha_scores_(self) -> FloatArray:
        """Score for each of ``alphas_``, on images that the head was not trained on."""
        return self.head_.alpha_scores_

    @fitted_property
    def alpha_scoring_(self) -> str:
        """How ``alpha_scores_`` was computed."""
        return self.head_.alpha_scoring_
