"""How fast the phantom draws, and that memory does not grow with the cohort.

.venv/bin/python tests/benchmarks/phantom_speed.py
"""

import resource
import time

from rahelpers.phantom import iter_cohort

if __name__ == "__main__":
    for size, patients in ((256, 60), (512, 20), (256, 240)):
        begun = time.monotonic()
        films = sum(1 for _ in iter_cohort(5, patients, size))
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{size} px: {films} hands in {seconds:.1f} s, {films / seconds:.1f} a second; peak"
            f" memory so far {peak:.0f} MB"
        )
