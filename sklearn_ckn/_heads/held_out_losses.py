"""Losses of samples by ridge heads that are fitted without them."""

import numpy as np

from sklearn_ckn._common.arrays import to_numpy
from sklearn_ckn._heads.alphas import GRIDS
from sklearn_ckn._heads.path import training_weights
from sklearn_ckn._heads.ridge import RidgePath


def held_out_losses(features, targets, weights, units, splits, losses_of):
    """Return the losses of the alpha whose mean loss is the lowest.

    Parameters
    ----------
    features : StandardizedFeatures
        Of n samples.
    targets : array of shape (n, m)
    weights : array of shape (n,)
    units : array of shape (n,)
        Samples with the same number are left out together if there are no splits.
    splits : list of tuple of array, or None
        Training rows and held-out rows; every row is held out once. None leaves out
        one unit after the other.
    losses_of : callable
        From rows and their predictions for every alpha, (k, A, m), to losses (k, A).

    Returns
    -------
    losses : ndarray of shape (n,), float64
    """
    alphas = GRIDS["ridge"]
    losses = features.xp.empty((len(targets), len(alphas)))
    if splits is None:
        path = RidgePath.from_features(features, targets, alphas, units)
        for rows, predictions, _ in path.leave_one_out():
            losses[rows] = losses_of(rows, predictions)
    for split in splits or ():
        train, held_out = map(features.xp.asarray, split)
        training = training_weights(weights, train)
        path = RidgePath.from_features(features.weighted(training), targets, alphas)
        losses[held_out] = losses_of(held_out, path.predict(held_out))
    best = int((weights @ losses).argmin())
    return to_numpy(losses[:, best])


def sample_rows(n, n_chosen, random_state, positions=None):
    """Choose samples at random, at least one of every class.

    Parameters
    ----------
    n : int
        Number of samples.
    n_chosen : int
    random_state : RandomState
    positions : ndarray of shape (n,) or None, default=None
        Classes of the samples as positions; None for real targets.

    Returns
    -------
    rows : ndarray of shape (min(n, n_chosen),) or slice
        In ascending order; a slice of all samples if there are no more.
    """
    if n <= n_chosen:
        return slice(None)
    order = random_state.permutation(n)
    if positions is not None:
        firsts = np.unique(positions[order], return_index=True)[1]
        order = np.concatenate([order[firsts], np.delete(order, firsts)])
    return np.sort(order[:n_chosen])
