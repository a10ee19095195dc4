"""NetworkLearner: the fit of CKNFeatures, after its images have been validated."""

from dataclasses import replace

import numpy as np
from sklearn.utils import check_random_state

from sklearn_ckn._common.parameters import finite_number, name_of_parameters
from sklearn_ckn._common.progress import start_task
from sklearn_ckn._common.types import fit_context
from sklearn_ckn._input.hints import warn_of_patches
from sklearn_ckn._input.magnitudes import UsualMagnitudes
from sklearn_ckn._learning.branches import feature_scale, resolve_branches
from sklearn_ckn._learning.cache import resolve_memory
from sklearn_ckn._learning.layers import LearningOptions, learn_network
from sklearn_ckn._network.network import Network, check_range, norm_growth
from sklearn_ckn._network.parameters import resolve_layers
from sklearn_ckn._network.union import NetworkUnion
from sklearn_ckn._network.whitening import learn_whitening


class NetworkLearner:
    """Base class of CKNFeatures that learns its network, or those of its branches."""

    @fit_context
    def _fit_validated(self, images, engine):
        """Fit to images from another estimator, which has validated and named them."""
        task = start_task(self, None, images.array)
        self._learn(images, engine, task)
        task.end()
        return self

    def _learn(self, images, engine, task):
        """Learn the network from validated images and set the fitted attributes."""
        self._learn_network(images, engine, task)
        usual = UsualMagnitudes.of_images(images)
        for each in (self, *(self.branches_ or ())):
            each._usual = None if each._network.ignores_units else usual

    def _learn_network(self, images, engine, task):
        """Learn the network from validated images, and what tells of it."""
        self.image_shape_ = images.shape
        if self.branches is None:
            self._learn_layers(images, engine, task)
        else:
            self._learn_branches(images, engine, task)

    def _learn_layers(self, images, engine, task):
        """Learn the layers of a single network."""
        settings = self._check_layers(images.shape)
        warn_of_patches(settings, images.shape)
        whitening = None
        if self.whitening is not None:
            with task.step("whitening"):
                whitening = learn_whitening(images, self.whitening, engine)
        growth = norm_growth(settings, images.shape, whitening, self.differences)
        check_range(images, growth)
        network, learned = learn_network(
            images,
            Network(
                (), images.shape, whitening=whitening, differences=self.differences
            ),
            settings,
            self._learning_options(),
            check_random_state(self.random_state),
            engine,
            task,
        )
        self.branches_ = None
        self.inertia_ = [each.inertia for each in learned]
        self.nystrom_residual_ = [each.residual for each in learned]
        self.n_iter_per_layer_ = [1 + each.n_iter for each in learned]
        self.n_iter_ = max(self.n_iter_per_layer_)
        self._network = replace(
            network, flip_average=self.flip_average, normalize=float(self.normalize)
        )

    def _check_layers(self, image_shape):
        """Return the LayerSettings; raise an error if a parameter does not fit."""
        if self.differences and 1 not in image_shape[:2]:
            raise ValueError(
                "differences=True needs signals, images of one row or one column, got "
                f"images of {image_shape[0]} x {image_shape[1]}: set it to False."
            )
        if self.differences and self.whitening is not None:
            raise ValueError(
                f"differences=True and whitening={self.whitening} cannot be combined: "
                "set whitening=None."
            )
        return resolve_layers(self.get_params(deep=False), image_shape)

    def _learn_branches(self, images, engine, task):
        """Learn the networks of the branches and join them."""
        rng = check_random_state(self.random_state)
        own = self.get_params(deep=False)
        branches = [
            type(self)(
                **parameters,
                # Without a seed the memory is of no use.
                memory=None if self.random_state is None else self.memory,
                device=self.device,
                verbose=self.verbose,
                random_state=rng.randint(np.iinfo(np.int32).max),
            )
            for parameters in resolve_branches(own, images.shape)
        ]
        for i, branch in enumerate(branches):
            with name_of_parameters(f"branches[{i}]"):
                branch._validate_params()
                branch._check_layers(images.shape)
        for i, branch in enumerate(branches):
            with task.subtask(f"branch {i}", None) as part:
                part.prefix = f"branch {i}, "
                branch._learn_network(images, engine, part)
                with part.step("scale of the features"):
                    encoder = branch._encoder(images, engine)
                    scale = feature_scale(encoder, images, rng)
            branch._network = replace(branch._network, scale=scale)
            branch.n_features_in_ = self.n_features_in_
            if hasattr(self, "feature_names_in_"):
                branch.feature_names_in_ = self.feature_names_in_
        self.branches_ = branches
        for name in ("inertia_", "nystrom_residual_", "n_iter_per_layer_"):
            joined = [value for each in branches for value in getattr(each, name)]
            setattr(self, name, joined)
        self.n_iter_ = max(self.n_iter_per_layer_)
        self._network = NetworkUnion(tuple(each._network for each in branches))

    def _learning_options(self):
        """Return the LearningOptions from the parameters."""
        return LearningOptions(
            n_patches=self.n_patches,
            max_iter=self.kmeans_max_iter,
            tol=finite_number("kmeans_tol", self.kmeans_tol),
            memory=resolve_memory(self.memory, self.random_state),
            verbose=self.verbose,
        )
