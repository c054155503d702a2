"""One thread for slow work, so that the page never waits; a new job stops the previous one."""

from __future__ import annotations

import atexit
import collections
import queue
import threading
from collections.abc import Callable


class StoppedError(Exception):
    """The job is no longer wanted."""


class Ticket:
    """A job's permission to continue.

    Parameters
    ----------
    between : callable
        Called at each check: runs short jobs that should not wait for the end of this one.
    """

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self._stop, self._between = threading.Event(), between

    def stop(self) -> None:
        """Ask the job to end at its next `check`."""
        self._stop.set()

    def check(self) -> None:
        """Raise StoppedError if the job was stopped; otherwise run the short jobs that wait."""
        if self._stop.is_set():
            raise StoppedError
        self._between()


Job = Callable[[Ticket], None]


class Worker:
    """A thread that does one job after another. Each user's panel has its own.

    Parameters
    ----------
    failed : callable
        Gets every error that a job raises: it must reach the person, not a log.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._short: collections.deque[Callable[[], None]] = collections.deque()
        self._failed, self._current = failed, Ticket()
        self._open, self._idle = 0, threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="panel-worker").start()
        atexit.register(self._end)

    def first(self, job: Job) -> None:
        """Queue a job that the others need: nothing stops it."""
        self._put(job, Ticket())

    def start(self, job: Job) -> None:
        """Stop the current job and do this one next."""
        self._current.stop()
        self._current = Ticket(self._do_short)
        self._put(job, self._current)

    def between(self, act: Callable[[], None]) -> None:
        """Do something short: at the current job's next check, or at once if there is none."""
        with self._idle:
            self._open += 1
        self._short.append(act)
        self._jobs.put(self._do_short)

    def stop(self) -> None:
        """Stop the current job."""
        self._current.stop()

    def wait(self, seconds: float) -> bool:
        """True once nothing is left to do; False if that takes longer. For tests."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._open, seconds)

    def _end(self) -> None:
        """Let the thread leave TensorFlow before Python exits; killed inside it, Python aborts."""
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
            pass  # as intended
        except Exception as error:  # every other error is shown to the person
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
