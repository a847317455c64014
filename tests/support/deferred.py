"""A device that does nothing before it must: what was not told to wait happens in a wrong order.

It takes the place of the simulator's driver, which does everything at once. Each stream is a list
of work; one goes on when the host, or another stream, waits for it, and no further than that.
"""

from contextlib import contextmanager
from ctypes import memmove, string_at

from fastadam.cuda.driver import Event
from fastadam.cuda.simulator import Simulated


class Deferred(Simulated):
    def start(self):
        """Begin with nothing to do."""
        self.streams, self.pinned_at, self.waits = {}, [], 0
        self.kept, self.graphs = [], {}  # a device waits before it takes memory back

    def queue(self, stream, work):
        assert stream > 0, "a handle"
        self.graphs.get(stream, self.streams.setdefault(stream, [])).append(work)

    def begin(self, stream):
        """Capture what is launched in a stream, from now on, in a graph."""
        self.graphs[stream] = graph = []
        return graph

    def end(self, stream):
        del self.graphs[stream]

    def replay(self, graph, stream):
        for work in graph:
            self.queue(stream, work)

    def capturing(self, stream):
        return stream in self.graphs

    def copy_in(self, target, source, nbytes, stream):
        """Pinned memory is read when the copy happens, other memory at once."""
        assert stream not in self.graphs, "only launches are the same whenever they are replayed"
        if any(start <= source < stop for start, stop in self.pinned_at):
            self.queue(stream, lambda: memmove(target, source, nbytes))
        else:
            taken = string_at(source, nbytes)
            self.queue(stream, lambda: memmove(target, taken, nbytes))

    def pinned(self, nbytes):
        memory = super().pinned(nbytes)
        self.kept.append(memory)
        self.pinned_at.append((memory.address, memory.address + nbytes))
        return memory

    def event(self):
        event = Event(None)
        event.mark = None
        return event

    def clear(self, target, nbytes, stream):
        assert stream not in self.graphs
        super().clear(target, nbytes, stream)

    def record(self, event, stream):
        assert stream not in self.graphs
        event.mark = mark = [stream, False]

        def reached():
            mark[1] = True

        self.queue(stream, reached)

    def follow(self, stream, event):
        assert stream not in self.graphs
        mark = event.mark
        self.queue(stream, lambda: self._run_until(mark))

    def reached(self, event):
        return event.mark is None or event.mark[1]

    def reach(self, event):
        self.waits += event.mark is not None and not event.mark[1]
        self._run_until(event.mark)

    def finish(self, stream):
        assert stream not in self.graphs
        self.waits += 1
        self.do(stream)

    def finish_all(self):
        assert not self.graphs
        for stream in list(self.streams):
            self.finish(stream)

    def do(self, stream, most=1 << 30):
        """Let a stream go on, by so many pieces of work."""
        work = self.streams.get(stream, [])
        while work and most:
            work.pop(0)()
            most -= 1

    def _run_until(self, mark):
        while mark and not mark[1]:
            assert self.streams[mark[0]], "nobody will ever get there"
            self.do(mark[0], 1)


@contextmanager
def deferring(driver):
    """Let the driver of the simulator put everything off."""
    driver.__class__ = Deferred
    driver.start()
    try:
        yield driver
        driver.finish_all()
    finally:
        driver.__class__ = Simulated
