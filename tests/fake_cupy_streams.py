"""Streams of the stand-in for CuPy, whose copies are done as late as events allow."""

import numpy as np
from fake_cupy_arrays import Clock, Device


class Event:
    """The work that a stream had been given when the event was recorded."""

    def __init__(self, disable_timing=False):
        self._stream, self._position, self._clock = None, 0, 0

    def record(self, stream):
        self._stream = stream
        self._position = len(stream.work) if isinstance(stream, Stream) else 0
        Clock.now += 1
        self._clock = Clock.now

    def run(self):
        """Do the work, for another stream that waits: the CPU does not."""
        if isinstance(self._stream, Stream):
            self._stream.run(self._position)

    def synchronize(self):
        if isinstance(self._stream, Stream):
            self._stream.run(self._position)
            self._stream.check_sources(self._position)


class CurrentStream:
    """The default stream, which does everything at once."""

    def wait_event(self, event):
        event.run()

    def synchronize(self):
        """Wait for nothing."""


class Stream:
    """A stream of copies of the current GPU, each done as late as possible."""

    def __init__(self, non_blocking=False):
        self._device = Device.current
        self.work = []
        self._n_done = 0
        self._seen = 0
        # Arrays of the CPU that copies may still be reading, and what they held.
        self._sources = []

    def wait_event(self, event):
        event.run()
        self._seen = max(self._seen, event._clock)

    def _check(self, array):
        assert array.device.id == self._device, "a copy of an array of another GPU"
        is_waited_for = array._memory.last_used <= self._seen
        assert is_waited_for, "a copy does not wait for work before it"

    def read(self, array, out):
        self._check(array)
        # later work may reuse the memory only if the array is not kept
        self.work.append(lambda: out.__setitem__(..., array._host))

    def write(self, array, source):
        self._check(array)
        self.work.append(lambda: array._host.__setitem__(..., source))
        self._sources.append((len(self.work), source, source.copy()))

    def check_sources(self, position):
        """Raise if what is copied was changed before the CPU knew of the end."""
        for end, source, held in self._sources:
            if end <= position:
                np.testing.assert_array_equal(source, held)
        self._sources = [each for each in self._sources if each[0] > position]

    def run(self, position):
        for i in range(self._n_done, position):
            self.work[i]()
            # What is done holds no array.
            self.work[i] = None
        self._n_done = max(self._n_done, position)

    def synchronize(self):
        self.run(len(self.work))
        self.check_sources(len(self.work))
