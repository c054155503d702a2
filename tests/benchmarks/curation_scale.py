"""How curation scales with the number of films: time per film, memory, and what the cache saves.

    .venv/bin/python -m tests.benchmarks.curation_scale [FILMS ...]

20,000 films take about ten minutes on 2 cores, and 3 GB of disk in a temporary folder. Films are
PNG files of 256 px, made from 100 phantom hands, each with its own exposure and noise; every hand
is one patient. The figures are in docs/curation.md.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np
import pandas as pd

from rahelpers.core.config import make_config, project_root
from rahelpers.core.store import Run
from rahelpers.curation.step import curate
from rahelpers.phantom import make_patient, render

HANDS = 100


def make_films(folder: Path, n: int) -> None:
    """Write n films and their table."""
    (folder / "films").mkdir(parents=True)
    hands = [render(make_patient(7, i), "L", 256).image for i in range(HANDS)]
    for i in range(n):
        rng = np.random.default_rng(i)
        film = np.clip(
            hands[i % HANDS] ** rng.uniform(0.8, 1.25) + rng.normal(0, 0.01, (256, 256)), 0, 1
        )
        cv2.imwrite(str(folder / "films" / f"{i:06d}.png"), np.rint(film * 255).astype(np.uint8))
    names = [f"{i:06d}" for i in range(n)]
    pd.DataFrame(
        {
            "image_id": names,
            "who": [i % HANDS for i in range(n)],
            "ra": [i % HANDS % 2 for i in range(n)],
        }
    ).to_csv(folder / "t.csv", index=False)


def measure(folder: Path, name: str) -> None:
    """Curate, and print seconds, films kept, and the peak memory of this process in MB."""
    begun = time.monotonic()
    config = make_config(
        source="folder",
        images=str(folder / "films"),
        table=str(folder / "t.csv"),
        patient_column="who",
        label_column="ra",
        positive="1",
        image_size=128,
        run_dir=str(folder / "runs" / name),
    )
    cohort = curate(Run(config))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.monotonic() - begun, len(cohort.manifest), memory]))


def measure_all(sizes: list[int]) -> None:
    """Measure each size twice, each time in a new process."""
    rows = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as place:
            make_films(Path(place), n)
            row: dict[str, float] = {"films": n}
            for name in ("first", "second"):
                command = [sys.executable, "-m", "tests.benchmarks.curation_scale"]
                done = subprocess.run(
                    [*command, "--one", place, name],
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=project_root(),
                )
                seconds, kept, memory = json.loads(done.stdout.splitlines()[-1])
                row |= {
                    f"{name}, s": round(seconds, 1),
                    f"{name}, ms per film": round(1000 * seconds / n, 2),
                    f"{name}, MB": round(memory),
                    "kept": kept,
                }
            rows.append(row | {"ratio": round(row["first, s"] / row["second, s"], 1)})
            print(rows[-1], flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


@click.command(help=__doc__)
@click.argument("films", nargs=-1, type=int)
@click.option("--one", nargs=2, help="measure one folder and run, in this process", hidden=True)
def main(films: tuple[int, ...], one: tuple[str, str] | None) -> None:
    if one:
        measure(Path(one[0]), one[1])
    else:
        measure_all(list(films) or [1000, 5000, 20000])


if __name__ == "__main__":
    main()
