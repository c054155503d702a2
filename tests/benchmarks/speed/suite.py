"""How fast this machine is, and how much of its speed this project uses.

A section is a function from `Sizes` to a table (`as_table`), named in `SECTIONS`. What a section
compares is timed in turn and in one process: A, B, A, B. The fastest round of each is reported,
because other work on a machine can only slow it down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rahelpers.core.config import near_match
from rahelpers.core.store import write_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of what is timed.

    Attributes
    ----------
    matmul_sides : tuple of int
        Of square matrices.
    large : tuple of str
        Networks of the paper of which single steps are timed, as well as those of vgg_small.
    pixels, batch : int
        Their side and number of films, forward and for Grad-CAM.
    training_pixels, training_batch : int
        The same for training steps of complete VGG networks, and for all trainings from films to
        weights.
    small_pixels : int
        Side of the films of vgg_small in single steps and Grad-CAM.
    patients, epochs : int
        Size of the phantom cohort of the trainings from films to weights, and their epochs.
    rounds : int
        How often each thing is timed.
    fits : int
        How often vgg_small is trained.
    orders : int
        Random orders of the players for the Shapley values that are taken as true.
    run : Path, optional
        A run whose curated films replace the phantom's in trainings.
    weights : str
        Where the fine-tuning of VGG16 starts: a path, 'imagenet', or '' for random weights, which
        are enough to measure the speed, but not the AUC.
    """

    matmul_sides: tuple[int, ...] = (1024, 2048, 4096)
    large: tuple[str, ...] = ("vgg16", "vgg19")
    pixels: int = 224
    batch: int = 8
    training_pixels: int = 128
    training_batch: int = 16
    small_pixels: int = 256
    patients: int = 80
    epochs: int = 10
    rounds: int = 5
    fits: int = 2
    orders: int = 150
    run: Path | None = None
    weights: str = ""


SIZES = {
    "smoke": Sizes(
        matmul_sides=(64,),
        large=("vgg16",),
        pixels=32,
        batch=2,
        training_pixels=32,
        training_batch=4,
        small_pixels=32,
        patients=16,
        epochs=1,
        rounds=1,
        fits=1,
        orders=4,
    ),
    "quick": Sizes(),
    "full": Sizes(patients=320, epochs=20, rounds=10, fits=3),
}
# section -> (module, function); in the order in which they run
SECTIONS: dict[str, tuple[str, str]] = {
    "peak": ("networks", "measure_peak"),
    "forward": ("networks", "measure_forward"),
    "training": ("networks", "measure_training"),
    "small": ("fits", "measure_small"),
    "finetuning": ("fits", "measure_finetuning"),
    "gradcam": ("explanations", "measure_gradcam"),
    "shap": ("region_shap", "measure_shap"),
}
COLUMNS = ["measured", "value", "unit", "target", "met"]


def as_row(
    measured: str, value: float, unit: str, target: float | None = None, at_most: bool = False
) -> dict[str, object]:
    """One line of a section's table.

    Parameters
    ----------
    measured : str
        What, in which number format, at how many pixels, compared with what.
    value : float
    unit : str
        Such as images/s, GFLOP/s, s, or 'times'.
    target : float, optional
        In the same unit.
    at_most : bool
        The value should be at most the target, not at least.
    """
    words, met = "", ""
    if target is not None:
        words = f"{'at most' if at_most else 'at least'} {target:g}"
        met = "yes" if (value <= target if at_most else value >= target) else "no"
    return dict(zip(COLUMNS, (measured, value, unit, words, met), strict=True))


def as_note(measured: str, note: str) -> dict[str, object]:
    """One line without a number: why something was not measured."""
    return dict(zip(COLUMNS, (measured, float("nan"), note, "", ""), strict=True))


def as_table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """A section's table: columns measured, value, unit, target, met ('yes', 'no' or '')."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS)


def time_in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time several functions, and return the seconds of the fastest round of each.

    All run once untimed, and then once per round, so that a disturbance affects all of them.

    Parameters
    ----------
    works : dict of name -> function without arguments
        Each returns when its work is finished.
    rounds : int
    """
    for work in works.values():
        work()
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def run_bench(
    sizes: Sizes, only: Sequence[str] = (), echo: Callable[[str], object] = print
) -> pd.DataFrame:
    """Measure all sections, or those named, and print what each has found.

    Returns
    -------
    DataFrame
        Columns section, measured, value, unit, target, met.

    Raises
    ------
    ValueError
        For a section that does not exist.
    """
    import pandas as pd

    for name in only:
        if name not in SECTIONS:
            raise ValueError(f"there is no section '{name}'{near_match(name, tuple(SECTIONS))}")
    tables = []
    for name, (module, function) in SECTIONS.items():
        if only and name not in only:
            continue
        echo(f"\n{name}")
        table = getattr(import_module(f"tests.benchmarks.speed.{module}"), function)(sizes)
        for row in table.itertuples():
            target = f"  {row.target}: {row.met}" if row.target else ""
            echo(f"  {row.measured:<78} {show_number(row.value):>8} {row.unit:<9}{target}")
        tables.append(table.assign(section=name)[["section", *COLUMNS]])
    return pd.concat(tables, ignore_index=True)


def show_number(value: float) -> str:
    """Format a number with three digits, and NaN as nothing."""
    if value != value:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write the table as CSV, or as Markdown if the file's name ends in .md."""
    if file.suffix == ".md":
        shown = table.assign(value=table["value"].map(show_number))
        lines = [
            list(shown.columns),
            ["---"] * len(shown.columns),
            *shown.astype(str).to_numpy().tolist(),
        ]
        write_text(file, "".join(f"| {' | '.join(line)} |\n" for line in lines))
    else:
        write_text(file, table.to_csv(index=False))
