"""How fast the phantom draws, and that its memory does not grow with the cohort.

.venv/bin/python -m tests.benchmarks.phantom_speed
"""

import resource
import time

import click

from rahelpers.phantom import iter_cohort


@click.command(help=__doc__)
def main() -> None:
    for size, patients in ((256, 60), (512, 20), (256, 240)):
        begun = time.monotonic()
        films = sum(1 for _ in iter_cohort(5, patients, size))
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{size} px: {films} hands in {seconds:.1f} s, {films / seconds:.1f} per second; peak"
            f" memory so far {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
