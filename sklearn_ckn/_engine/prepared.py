"""Cache of prepared networks; an entry exists as long as its network.

An engine prepares a network before it computes with it, see ``Engine.prepare``. This
takes as long as mapping several images. With this cache it is done
once for all calls of a fitted estimator. Nothing is stored on the estimator, so its
pickles and copies contain only the network.
"""

from weakref import WeakKeyDictionary

_PREPARED: WeakKeyDictionary = WeakKeyDictionary()


def prepared_network(engine, network, dtype):
    """Return the result of ``engine.prepare``, computed at the first call only.

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
        # Two threads that call at the same time both prepare it; this does no harm.
        prepared = versions[key] = engine.prepare(network, dtype)
    return prepared


def forget_prepared(engine):
    """Remove the networks prepared by an engine, or by one with the same key."""
    for versions in list(_PREPARED.values()):
        for key in list(versions):
            if key[0] == engine.prepared_key:
                versions.pop(key, None)
