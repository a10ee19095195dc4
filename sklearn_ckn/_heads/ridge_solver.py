"""Ridge for classes: the choice of alpha, and the fit to all samples."""

from functools import cached_property, partial

import numpy as np

from sklearn_ckn._common.arrays import namespace
from sklearn_ckn._heads.alpha_search import refine, search_alphas
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.cholesky_path import (
    N_FINAL_DIRECTIONS,
    CholeskySolver,
    UncertainGramError,
    suits_cholesky,
)
from sklearn_ckn._heads.folds import scoring_of
from sklearn_ckn._heads.left_out import LeftOut, scored_rows
from sklearn_ckn._heads.one_alpha import solve_ridge
from sklearn_ckn._heads.path import (
    AlphaChoice,
    HeldOutScores,
    is_correct,
    training_weights,
)
from sklearn_ckn._heads.ridge import RidgePath
from sklearn_ckn._heads.summed import standardize_features


class RidgeSolver:
    """Chooses alpha by leave-one-out or by splits, then fits to all samples.

    All alphas share an eigendecomposition, or where that would take too long, groups of
    alphas share Cholesky factors.

    Parameters
    ----------
    samples : ClassifierSamples
    """

    def __init__(self, samples):
        self._samples = samples
        self._alphas = GRIDS["ridge"] if samples.alphas is None else samples.alphas
        self._features = standardize_features(
            samples.values, samples.targets, samples.weights, samples.splits
        )
        # By alpha, those that were scored exactly.
        self._final_paths = {}

    def choose(self):
        """Return the AlphaChoice."""
        if suits_cholesky(self._features):
            try:
                return self._search()
            except UncertainGramError:
                # All alphas are very small.
                pass
        if self._samples.splits is None:
            scores = self._score_left_out(self._path)
        else:
            scores = self._score_splits(
                partial(RidgePath.from_features, alphas=self._alphas)
            )
        return self._choice(scores, *scores.choose())

    def _choice(self, scores, best, factor):
        return AlphaChoice(
            alphas=scores.alphas,
            scores=scores.scores,
            best=best,
            scoring=scoring_of(self._samples.splits),
            n_scored=len(scores.labels),
            factor=factor,
        )

    def solve(self, choice):
        """Return coef (m, d) and intercept (m,) of the alpha that was chosen."""
        features, samples = self._features, self._samples
        path, index = self._final_paths.get(float(choice.chosen[0])), 0
        if path is None and samples.splits is not None:
            solution = solve_ridge(features, samples.targets, float(choice.chosen[0]))
            return features.original_units(*solution)
        if path is None:
            path, index = self._path, choice.best
        return features.original_units(path.solve(index), path.intercept)

    @cached_property
    def _path(self):
        """The solutions for all alphas, fitted to all samples."""
        samples = self._samples
        return RidgePath.from_features(
            self._features, samples.targets, self._alphas, samples.units
        )

    def _search(self):
        """Return the choice by Cholesky factors, of some of the alphas."""
        if len(self._alphas) == 1:
            scores = self._score_exactly(self._alphas)
            return self._choice(scores, *scores.choose())
        scores = search_alphas(self._alphas, self._score_group, HeldOutScores.merge)
        refined, best = refine(scores, self._score_exactly)
        for index, own in refined.items():
            scores.scores[index] = own.scores[0]
        return self._choice(scores, best, refined[best].calibrate(0)[0])

    @cached_property
    def _factors(self):
        """The CholeskySolver for all samples."""
        samples = self._samples
        return CholeskySolver(self._features, samples.targets, samples.units)

    def _score_group(self, alphas):
        """Score alphas by estimates of the leverages, or by the splits."""
        if self._samples.splits is None:
            return self._score_left_out(self._factors.path(alphas))

        def path_of(features, targets):
            return CholeskySolver(features, targets).path(alphas, n_directions=0)

        return self._score_splits(path_of)

    def _score_exactly(self, alpha):
        """Score one alpha, (1,), that may be chosen."""
        if self._samples.splits is not None:
            return self._score_group(alpha)
        labels = self._samples.labels

        def is_open(rows, low, high):
            own = labels[rows]
            return is_correct(low, own) != is_correct(high, own)

        path = self._factors.path(alpha, N_FINAL_DIRECTIONS, is_open)
        self._final_paths[float(alpha[0])] = path
        return self._score_left_out(path)

    def _score_left_out(self, path):
        """Return HeldOutScores of the leave-one-out predictions of a path."""
        samples, left_out = self._samples, LeftOut(path)
        labels, weights = samples.labels, samples.weights

        def accuracy(rows, predictions):
            correct = is_correct(predictions, labels[rows, np.newaxis])
            return weights[rows] @ correct.astype(np.float64)

        rows = left_out.rows
        total = weights[rows].sum()
        return HeldOutScores.of_arrays(
            path.alphas,
            left_out.summarize(accuracy) / total,
            left_out.of,
            labels[rows],
            weights[rows] / total,
            samples.units[rows],
        )

    def _score_splits(self, path_of):
        """Return HeldOutScores of the held-out rows of the splits.

        Parameters
        ----------
        path_of : callable
            From features and targets to a path of ridge solutions.
        """
        samples, scored, decisions = self._samples, [], []
        for train, held_out in samples.splits:
            training = training_weights(samples.weights, train)
            path = path_of(self._features.weighted(training), samples.targets)
            scored.append(scored_rows(held_out))
            decisions.append(path.predict(scored[-1]))
        xp = namespace(samples.weights)
        # Some splits may not be solved for the smallest alphas.
        n_alphas = min(part.shape[1] for part in decisions)
        decisions = xp.concatenate([part[:, :n_alphas] for part in decisions])
        held_out = xp.concatenate(scored)
        labels, weights = samples.labels[held_out], samples.weights[held_out]
        weights = weights / weights.sum()
        correct = is_correct(decisions, labels[:, np.newaxis])
        return HeldOutScores.of_arrays(
            path.alphas[:n_alphas],
            weights @ correct.astype(np.float64),
            lambda i: decisions[:, i],
            labels,
            weights,
            samples.units[held_out],
        )
