"""Steps of a fit, told to scikit-learn's callbacks where it has them."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's mixin in versions that have no callbacks."""


class Task:
    """A step of a fit, which may consist of others.

    Parameters
    ----------
    estimator : estimator or None
    context : sklearn.callback.CallbackContext or None
        None where nobody is told.

    Attributes
    ----------
    was_stopped : bool
        Whether a callback asked, at the task's end, to stop what it is a part of.
    result : dict
        What callbacks are told at the end: ``X``, ``y`` and
        ``reconstruction_attributes``, a function that returns the attributes that make
        the estimator one that stopped here.
    """

    def __init__(self, estimator=None, context=None):
        self._estimator = estimator
        self._context = context
        self.was_stopped = False
        self.result = {}

    @property
    def is_observed(self):
        """Whether there are callbacks."""
        return bool(getattr(self._estimator, "_skl_callbacks", None))

    @contextmanager
    def subtask(self, name, n_subtasks=0):
        """Tell callbacks that a part begins and, afterwards, that it has ended.

        Parameters
        ----------
        name : str
        n_subtasks : int or None
            How many parts it has at most; None if that is not known.

        Yields
        ------
        task : Task
        """
        if self._context is None:
            yield Task()
            return
        context = self._context.subcontext(task_name=name, max_subtasks=n_subtasks)
        context.call_on_fit_task_begin(estimator=self._estimator)
        task = Task(self._estimator, context)
        yield task
        task.end()

    def each(self, name, items):
        """Yield items; each is a part until the next is asked for or the loop left."""
        for item in items:
            with self.subtask(name):
                try:
                    yield item
                except GeneratorExit:
                    was_left = True
                else:
                    was_left = False
            if was_left:
                return

    def end(self):
        """Tell callbacks that the task has ended."""
        if self._context is not None:
            self.was_stopped = self._context.call_on_fit_task_end(
                estimator=self._estimator, **self.result
            )

    @contextmanager
    def fit_by(self, estimator, name):
        """Let another estimator's fit be a part of this task."""
        if self._context is None:
            yield
            return
        context = self._context.subcontext(task_name=name)
        # Callbacks that the other estimator tells itself are left out inside.
        with context.propagate_callback_context(estimator):
            context.call_on_fit_task_begin(estimator=self._estimator)
            yield
            context.call_on_fit_task_end(estimator=self._estimator)


def start_task(estimator, n_subtasks, X=None, y=None):
    """Tell callbacks that a fit begins.

    To be called inside ``sklearn.base._fit_context``, which takes care of the end.

    Parameters
    ----------
    estimator : estimator
    n_subtasks : int or None
        How many parts the fit has at most.
    X, y
        What ``fit`` was given.

    Returns
    -------
    task : Task
    """
    if not hasattr(estimator, "_init_callback_context"):
        return Task()
    context = estimator._init_callback_context(max_subtasks=n_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    task = Task(estimator, context)
    # At the end the estimator has all the attributes there are.
    task.result = {"X": X, "y": y, "reconstruction_attributes": {}}
    return task
