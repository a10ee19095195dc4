"""Networks as engines have prepared them, kept while the networks exist.

Preparing a network takes as long as mapping several images. It is done once for all
calls of a fitted estimator, and nothing of it is stored on the estimator, whose pickles
and copies hold the network alone.
"""

from weakref import WeakKeyDictionary

_PREPARED: WeakKeyDictionary = WeakKeyDictionary()


def prepared_network(engine, network, dtype):
    """Return what ``engine.prepare`` returns, from an earlier call if there was one.

    Parameters
    ----------
    engine : Engine
    network : Network
    dtype : dtype

    Returns
    -------
    prepared : object
    """
    versions = _PREPARED.get(network)
    if versions is None:
        versions = _PREPARED.setdefault(network, {})
    key = engine.prepared_key, dtype
    prepared = versions.get(key)
    if prepared is None:
        # Threads that come at the same time prepare it twice, which does no harm.
        prepared = versions[key] = engine.prepare(network, dtype)
    return prepared


def forget_prepared(engine):
    """Let go of the networks that an engine, or one like it, has prepared."""
    for versions in list(_PREPARED.values()):
        for key in list(versions):
            if key[0] == engine.prepared_key:
                versions.pop(key, None)
