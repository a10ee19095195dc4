"""NetworkPredictor: base class of the estimators with a network and a linear head."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_ckn._common.arrays import namespace, to_numpy
from sklearn_ckn._common.fitting import fitted_property
from sklearn_ckn._common.pickles import VersionedEstimator
from sklearn_ckn._common.progress import CallbackSupportMixin
from sklearn_ckn._common.types import AnyArray, FloatArray
from sklearn_ckn._engine.choice import get_prediction_engine
from sklearn_ckn._features import RENAMED_PARAMETERS, CKNFeatures
from sklearn_ckn._heads.summed import FeatureSource
from sklearn_ckn._input.images import check_images
from sklearn_ckn._learning.cache import resolve_memory, warn_without_seed
from sklearn_ckn._learning.map_choice import MapChoice, MapQuestion, choose_map
from sklearn_ckn._learning.training_features import FeatureStorage, features_step
from sklearn_ckn._network.constraints import CHOICE_CONSTRAINTS

#: Names of the parameters of CKNFeatures.
NETWORK_PARAMETERS = tuple(CKNFeatures._get_param_names())

#: Names of the parameters that may be ``"auto"``.
CHOSEN = tuple(CHOICE_CONSTRAINTS)


class NetworkPredictor(CallbackSupportMixin, VersionedEstimator):
    """Base class of the estimators that fit a linear head to the features of a network.

    They have the parameters of CKNFeatures and those of the head.
    """

    _renamed_attributes = RENAMED_PARAMETERS

    features_: CKNFeatures
    image_shape_: tuple[int, int, int]
    n_iter_: int
    whitening_: float | None
    flip_average_: bool
    normalize_: float
    map_results_: dict[str, AnyArray] | None

    def _learn_features(self, images, problem, engine, task, streaming=False):
        """Learn ``features_`` and return the features of the images, in a list.

        The images are already validated, and ``features_`` gets the input names that
        the validation has set. The choice of the map, the learning and the encoding are
        three subtasks of ``task``. ``fit_in_memory`` can replace the array in the list.
        ``FeatureStorage`` describes ``streaming``.
        """
        warn_without_seed(self.memory, self.random_state)
        own = self.get_params(deep=False)
        parameters = {name: own[name] for name in NETWORK_PARAMETERS if name in own}
        self.image_shape_ = parameters["image_shape"] = images.shape
        self._choose_map(images, problem, parameters, engine, task)
        self.features_ = CKNFeatures(**parameters)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(self.features_, name, getattr(self, name))
        with task.fit_by(self.features_, "network"):
            self.features_._fit_validated(images, engine)
        self.n_iter_ = self.features_.n_iter_
        with features_step(task, images, self.features_._network) as step:
            encoder = self.features_._encoder(images, engine)
            memory = resolve_memory(self.memory, self.random_state)
            storage = FeatureStorage(streaming, memory)
            features = storage.features(encoder, images, problem, step)
            if isinstance(features, FeatureSource):
                step.outcome += ", computed whenever the head reads them"
            return [features]

    def _choose_map(self, images, problem, parameters, engine, task):
        """Choose the parameters of the map that are ``"auto"``, as a subtask.

        Set the attributes about the choice, and the parameters of the network.
        """
        question = MapQuestion(**{name: getattr(self, name) for name in CHOSEN})
        has_none = parameters.get("branches") is not None or parameters.get(
            "differences"
        )
        if has_none or not question.is_open:
            choice = MapChoice(question.plainest, None)
        else:
            # Checked with values that a network can have.
            plainest = question.candidates(images.shape)[0]
            options = CKNFeatures(**parameters | vars(plainest))._learning_options()
            with task.step("whitening, mirror images, normalization") as step:
                choice = choose_map(
                    images,
                    problem,
                    question,
                    parameters,
                    options,
                    engine,
                    self.random_state,
                )
                step.outcome = ", ".join(
                    f"{name}={value}" for name, value in vars(choice.chosen).items()
                )
        for name, value in vars(choice.chosen).items():
            parameters[name] = value
            setattr(self, f"{name}_", value)
        self.map_results_ = choice.results

    @classmethod
    def _translate_state(cls, state):
        state = dict(super()._translate_state(state))
        if "whitening" not in state:
            # Version 0.1.0 neither whitened, normalized nor chose.
            state.update(whitening=None, normalize=0.0)
            if "features_" in state:
                state.update({f"{name}_": state[name] for name in CHOSEN})
                state["map_results_"] = None
        return state

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

    @fitted_property
    def alpha_n_samples_(self) -> int:
        """Number of images by which ``alpha_scores_`` were computed."""
        return self.head_.alpha_n_samples_
