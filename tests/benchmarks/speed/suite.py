"""How fast this machine is, and what of it this project uses.

A section is a function `Sizes -> DataFrame` of `as_table`, named in `SECTIONS`. What is compared in
a section is timed in turn, in one process: A, B, A, B; the fastest round of each counts, because a
machine is only ever disturbed towards slower.
"""

from __future__ import annotations

import logging
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


@dataclass(frozen=True)
class Sizes:
    """How large the things are that are timed.

    Attributes
    ----------
    matmul_sides : tuple of int
        Of square matrices.
    large : tuple of str
        Networks of the paper that are timed in single steps beside vgg_small.
    pixels, batch : int
        Side and number of films for these, forward and Grad-CAM.
    training_pixels, training_batch : int
        The same for whole VGG networks in training, and for all trainings from films to weights.
    small_pixels : int
        Side of the films of vgg_small in single steps and Grad-CAM.
    patients, epochs : int
        Phantom cohort of the trainings from films to weights, and their passes over it.
    rounds : int
        How often each thing is timed.
    fits : int
        How often vgg_small is trained.
    orders : int
        Random orders of the players behind the Shapley values that count as true.
    run : Path, optional
        A run whose curated films are trained on in place of the phantom's.
    weights : str
        Start of VGG16's fine-tuning: a path, 'imagenet', or '' for random weights: enough for the
        speed, not for the AUC.
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
    "smoke": Sizes((64,), ("vgg16",), 32, 2, 32, 4, 32, 16, 1, 1, 1, orders=4),
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
        What, in which number format, at how many pixels, beside what.
    value : float
    unit : str
        Such as images/s, GFLOP/s, s, or 'times'.
    target : float, optional
        In the same unit.
    at_most : bool
        The target is a largest value, not a least one.
    """
    if target is None:
        return dict(zip(COLUMNS, (measured, value, unit, "", ""), strict=True))
    met = value <= target if at_most else value >= target
    return dict(
        zip(
            COLUMNS,
            (
                measured,
                value,
                unit,
                f"{'at most' if at_most else 'at least'} {target:g}",
                "yes" if met else "no",
            ),
            strict=True,
        )
    )


def as_note(measured: str, note: str) -> dict[str, object]:
    """A line without a number: why something was not measured."""
    return dict(zip(COLUMNS, (measured, float("nan"), note, "", ""), strict=True))


def as_table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """A section's table: columns measured, value, unit, target, met ('yes', 'no' or '')."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS)


def time_in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest round of each work. All are done once untimed, then each once a round,
    so that a disturbance meets them all.

    Parameters
    ----------
    works : dict of name -> function without arguments
        Each returns when its work is done.
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
    """Measure the sections, all or those named, and say what each has found.

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
        measure = getattr(import_module(f"tests.benchmarks.speed.{module}"), function)
        logging.getLogger("tensorflow").setLevel(
            logging.ERROR
        )  # it warns of many tracings, and here many networks are traced
        table = measure(sizes)
        for row in table.itertuples():
            echo(
                f"  {row.measured:<78} {show_number(row.value):>8}"
                f" {row.unit:<9}{f'  {row.target}: {row.met}' if row.target else ''}"
            )
        tables.append(table.assign(section=name)[["section", *COLUMNS]])
    return pd.concat(tables, ignore_index=True)


def show_number(value: float) -> str:
    """Three digits; nothing for NaN."""
    if value != value:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write the table as CSV, or as Markdown where the file's name ends in .md."""
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
