"""Reports of the progress of a fit: to scikit-learn's callbacks, and printed."""

import time
from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Replaces the mixin of scikit-learn in versions that have no callbacks."""


class Task:
    """A task of a fit, which may be divided into subtasks.

    Parameters
    ----------
    estimator : estimator or None
        Steps are printed if its parameter ``verbose`` is not 0.
    context : sklearn.callback.CallbackContext or None
        None if there are no callbacks.

    Attributes
    ----------
    was_stopped : bool
        Whether a callback requested, at the end of the task, to stop the task that it
        is a part of.
    result : dict
        Passed to callbacks at the end: ``X``, ``y`` and ``reconstruction_attributes``,
        a function that returns the fitted attributes of an estimator that stops here.
    outcome : str
        What is printed at the end of a step, before its time.
    prefix : str
        What the printed names of its steps begin with.
    """

    def __init__(self, estimator=None, context=None):
        self._estimator = estimator
        self._context = context
        self.was_stopped = False
        self.result = {}
        self.outcome = ""
        self.prefix = ""

    @property
    def is_observed(self):
        """Whether there are callbacks."""
        return bool(getattr(self._estimator, "_skl_callbacks", None))

    @contextmanager
    def step(self, name, n_subtasks=0):
        """Report a subtask that can take seconds, and print it; see ``subtask``.

        A line begins with the name, and ends with the outcome and the time. What is
        printed in between with ``verbose=2`` has lines of its own.
        """
        verbose = getattr(self._estimator, "verbose", 0)
        line = f"[{type(self._estimator).__name__}] {self.prefix}{name}"
        if verbose:
            print(f"{line} ...", end="\n" if verbose > 1 else " ", flush=True)
        start = time.perf_counter()
        try:
            with self.subtask(name, n_subtasks) as task:
                yield task
        except BaseException:
            if verbose == 1:
                print(flush=True)
            raise
        if verbose:
            seconds = f"{time.perf_counter() - start:.1f} s"
            result = ", ".join(filter(None, [task.outcome, seconds]))
            print(f"{line}: {result}" if verbose > 1 else result, flush=True)

    @contextmanager
    def subtask(self, name, n_subtasks=0):
        """Report the beginning of a subtask and, afterwards, its end.

        Parameters
        ----------
        name : str
        n_subtasks : int or None
            Maximum number of subtasks of the subtask; None if it is not known.

        Yields
        ------
        task : Task
        """
        if self._context is None:
            yield Task(self._estimator)
            return
        context = self._context.subcontext(task_name=name, max_subtasks=n_subtasks)
        context.call_on_fit_task_begin(estimator=self._estimator)
        task = Task(self._estimator, context)
        yield task
        task.end()

    def each(self, name, items):
        """Yield items; each is a subtask until the next one is requested."""
        if self._context is None:
            yield from items
            return
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
        """Report the end of the task."""
        if self._context is not None:
            self.was_stopped = self._context.call_on_fit_task_end(
                estimator=self._estimator, **self.result
            )

    @contextmanager
    def fit_by(self, estimator, name):
        """Make the fit of another estimator a subtask of this task."""
        if self._context is None:
            yield
            return
        context = self._context.subcontext(task_name=name)
        # The other estimator reports to its own callbacks itself.
        with context.propagate_callback_context(estimator):
            context.call_on_fit_task_begin(estimator=self._estimator)
            yield
            context.call_on_fit_task_end(estimator=self._estimator)


def start_task(estimator, n_subtasks, X=None, y=None):
    """Report the beginning of a fit.

    Must be called inside ``sklearn.base._fit_context``, which cleans up at the end.

    Parameters
    ----------
    estimator : estimator
    n_subtasks : int or None
        Maximum number of subtasks of the fit.
    X, y
        The arguments of ``fit``.

    Returns
    -------
    task : Task
    """
    if not hasattr(estimator, "_init_callback_context"):
        return Task(estimator)
    context = estimator._init_callback_context(max_subtasks=n_subtasks)
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
    task = Task(estimator, context)
    # At the end of the fit the estimator has all its attributes already.
    task.result = {"X": X, "y": y, "reconstruction_attributes": {}}
    return task
