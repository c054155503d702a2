"""Work on many films at once: on all cores of this machine, or on a Dask cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import joblib

from rahelpers.core.store import code_hash

Item = TypeVar("Item")
Result = TypeVar("Result")
# Jobs in flight on a cluster: enough for its workers, few enough for this machine's memory.
WINDOW = 64
RETRIES = 5  # times a job may lose its worker before it counts as failed
LEAST_ITEMS = 16  # per process; for fewer, starting it takes longer than the work


def run_job(job: Callable[[], Result]) -> Result:
    """Call `job`; unlike a lambda, this module-level function can be found by another process."""
    return job()


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    dask: str = "",
    modules: tuple[str, ...] = (),
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order and in parallel.

    Only a few items are in work at a time, so memory does not grow with their number.

    Parameters
    ----------
    function : callable
        At module level, so that another process can find it. The result must not depend on where
        it runs.
    items : sequence
    dask : str
        Address of a Dask scheduler, such as 'tcp://10.0.0.5:8786'; empty: the cores of this
        machine. Workers must see the same files, and have the same version of this package. If a
        worker is lost, only its own jobs are done again.
    modules : tuple of str
        Packages and modules below `rahelpers/` whose code must be the same on every worker.

    Raises
    ------
    ValueError
        If the scheduler cannot be reached, or a worker has different code.
    """
    if dask:
        yield from _on_cluster(function, items, dask, modules)
        return
    processes = max(1, min(joblib.cpu_count(), len(items) // LEAST_ITEMS))
    yield from joblib.Parallel(n_jobs=processes, return_as="generator", pre_dispatch="4*n_jobs")(
        joblib.delayed(function)(item) for item in items
    )


def _on_cluster(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    address: str,
    modules: tuple[str, ...],
) -> Iterator[Result]:
    client = _connect(address)
    with client:
        here = code_hash(modules)
        for worker, there in client.run(code_hash, modules).items():
            if there != here:
                raise ValueError(
                    f"dask={address}: the code of rahelpers on worker {worker} differs from this"
                    " machine's; install the same version on both"
                )
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(client.submit(function, item, pure=False, retries=RETRIES))
            if len(waiting) >= WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            f"dask={address}: the package 'distributed' is not installed; pip install distributed"
        ) from None
    try:
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(
            f"dask={address}: no Dask scheduler answers there ({error}); start one with:"
            " dask scheduler"
        ) from None
