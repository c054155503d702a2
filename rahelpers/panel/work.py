"""One thread for what takes long, so that the page never waits. A new job stops the one before it."""

from __future__ import annotations

import atexit
import collections
import queue
import threading
from collections.abc import Callable


class StoppedError(Exception):
    """The job is no longer wanted."""


class Ticket:
    """A job's right to go on.

    Parameters
    ----------
    between : callable
        Called at each check: does what is short and should not wait for the end of the job.
    """

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self._stop, self._between = threading.Event(), between

    def stop(self) -> None:
        """Ask the job to end at its next `check`."""
        self._stop.set()

    def check(self) -> None:
        """Raise StoppedError where the job was stopped; else do the short jobs that wait."""
        if self._stop.is_set():
            raise StoppedError
        self._between()


Job = Callable[[Ticket], None]


class Worker:
    """A thread that does jobs in turn. Each user's panel has its own.

    Parameters
    ----------
    failed : callable
        Told of an error that a job let out: it must reach the person, not a log.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._short: collections.deque[Callable[[], None]] = collections.deque()
        self._failed, self._current = failed, Ticket()
        self._open, self._idle = 0, threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="panel-worker").start()
        atexit.register(self._end)

    def first(self, job: Job) -> None:
        """A job that the others need: nothing stops it."""
        self._put(job, Ticket())

    def start(self, job: Job) -> None:
        """Stop what is going on and do this next."""
        self._current.stop()
        self._current = Ticket(self._do_short)
        self._put(job, self._current)

    def between(self, act: Callable[[], None]) -> None:
        """Something short: at the next check of what is going on, or at once where nothing is."""
        with self._idle:
            self._open += 1
        self._short.append(act)
        self._jobs.put(self._do_short)

    def stop(self) -> None:
        """Stop what is going on."""
        self._current.stop()

    def wait(self, seconds: float) -> bool:
        """True once nothing is left to do; False where that takes longer. For tests."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._open, seconds)

    def _end(self) -> None:
        """Let the thread come out of TensorFlow before Python ends; cut off inside it, the process
        would abort.
        """
        self.stop()
        self.wait(10)

    def _put(self, job: Job, ticket: Ticket) -> None:
        def run() -> None:
            ticket.check()
            job(ticket)

        with self._idle:
            self._open += 1
        self._jobs.put(lambda: self._guard(run))

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StoppedError:
            pass  # wanted
        except Exception as error:  # whatever a job let out is shown to the person
            self._failed(error)
        finally:
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def _do_short(self) -> None:
        while self._short:
            self._guard(self._short.popleft())

    def _run(self) -> None:
        while True:
            self._jobs.get()()
