"""Checkpoints: the state of a training after each epoch, stored in the memory."""

from sklearn_ckn._learning.cache import StoredResults


class Checkpoints:
    """The last finished epoch of a training, for a fit that goes on after it.

    Parameters
    ----------
    memory : ResilientMemory
    images : Images
    engine : Engine
    options : TrainingOptions
    *parts
        Everything else that the training depends on.
    """

    def __init__(self, memory, images, engine, options, *parts):
        self._n_epochs = options.n_epochs
        self._results = None
        # Of a function, only the name could be compared with that of the earlier fit.
        if memory.is_searchable and not callable(options.augment):
            key = memory.key(images, engine, options, *parts)
            self._results = StoredResults(memory, "training_state", key)

    def latest(self):
        """Return the state after the last epoch that was stored, or None."""
        if self._results is None:
            return None
        for n_done in range(self._n_epochs, 0, -1):
            state = self._results.load(n_done)
            if state is not None:
                return state
        return None

    def save(self, n_done, state):
        """Store the state after ``n_done`` epochs, and remove the one before."""
        if self._results is not None:
            self._results.store(n_done, state)
            self._results.remove(n_done - 1)
