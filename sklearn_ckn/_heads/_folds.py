"""Samples held out to choose alpha and to fit probabilities."""

import numpy as np
from sklearn.model_selection import StratifiedKFold

N_FOLDS = 5

# With more samples than this, one fold is enough to tell alphas apart.
MAX_FOR_ALL_FOLDS = 2000


def held_out_folds(labels):
    """Divide samples into stratified folds, in their order.

    Every training part has each class: a class of one sample is not held out, and
    there are no more folds than samples of the next rarest class.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Positions of the classes.

    Returns
    -------
    folds : list of ndarray
        Rows held out: of five folds, or fewer; of the first where there are more than
        2,000 samples.

    Raises
    ------
    ValueError
        No class has two samples.
    """
    counts = np.bincount(labels)
    shared = np.flatnonzero(counts[labels] > 1)
    if len(shared) == 0:
        raise ValueError(
            'The heads "linear_svm" and "logistic" hold samples out, and y has no '
            'class of two samples or more. The head "ridge" needs none.'
        )
    splitter = StratifiedKFold(min(N_FOLDS, counts[counts > 1].min()))
    folds = [shared[held_out] for _, held_out in splitter.split(shared, labels[shared])]
    return folds[:1] if len(labels) > MAX_FOR_ALL_FOLDS else folds
