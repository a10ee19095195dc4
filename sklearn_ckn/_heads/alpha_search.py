"""The search for an alpha where each alpha that is tried takes long.

Alphas are tried in groups, from small ones on, until the best of them are in between
others. Of the best, those that may be chosen are scored once more, more precisely.
"""

import numpy as np

from sklearn_ckn._heads.cholesky_path import UncertainGramError

#: The alphas of a group are within this number of decades, and the first group has its
#: middle at 10^CENTRE: where features of networks are classified best.
DECADES, CENTRE = 3, -7.75

#: At most so many alphas are scored once more, and those whose loss is larger than the
#: smallest by this share are not.
MOST_REFINED, MARGIN = 2, 0.01


def group_alphas(alphas):
    """Divide alphas into groups that are solved together.

    Parameters
    ----------
    alphas : ndarray of shape (A,)
        In descending order.

    Returns
    -------
    groups : list of ndarray
        Their parts, in the same order.
    first : int
        Position of the group that is tried first.
    """
    numbers = np.round((np.log10(alphas) - CENTRE) / DECADES)
    values = np.unique(numbers)[::-1]
    groups = [alphas[numbers == value] for value in values]
    return groups, int(np.argmin(np.abs(values)))


def search_alphas(alphas, score, merge):
    """Try groups of alphas until the best ones are in between others.

    Parameters
    ----------
    alphas : ndarray of shape (A,)
        In descending order.
    score : callable
        From some alphas to their scores: an object with ``alphas``, in which the
        smallest may be missing, and with ``contenders()``, the ascending positions of
        those that may be the best.
    merge : callable
        From a list of such objects, of descending alphas, to one.

    Returns
    -------
    scores : object
        Of all alphas that were tried.

    Raises
    ------
    UncertainGramError
        None of them can be solved.
    """
    groups, first = group_alphas(alphas)
    found, new = {}, first
    while True:
        try:
            found[new] = score(groups[new])
        except UncertainGramError:
            # Nor can smaller ones.
            groups = groups[:new]
            if not groups:
                raise
        else:
            if len(found[new].alphas) < len(groups[new]):
                groups = groups[: new + 1]
        if not found:
            new = len(groups) - 1
            continue
        scores = merge([found[place] for place in sorted(found)])
        contenders = scores.contenders()
        if contenders[0] == 0 and min(found) > 0:
            new = min(found) - 1
        elif contenders[-1] == len(scores.alphas) - 1 and max(found) < len(groups) - 1:
            new = max(found) + 1
        else:
            return scores


def refine(scores, score):
    """Score the best alphas more precisely.

    Parameters
    ----------
    scores : object
        See ``search_alphas``; with ``losses(positions)``.
    score : callable
        From one alpha to its scores, of the same kind.

    Returns
    -------
    refined : dict
        From positions of alphas to their scores.
    best : int
        Position of the alpha with the lowest loss.
    """
    contenders = scores.contenders()
    losses = scores.losses(contenders)
    order = np.argsort(losses, kind="stable")[:MOST_REFINED]
    close = order[losses[order] <= (1 + MARGIN) * losses.min()]
    refined = {int(i): score(scores.alphas[i : i + 1]) for i in contenders[close]}
    return refined, min(refined, key=lambda i: refined[i].losses([0])[0])
