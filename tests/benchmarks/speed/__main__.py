"""Measure this machine, and how much of its speed the project uses.

.venv/bin/python -m tests.benchmarks.speed [--profile smoke] [--only peak]

For comparison: plain Keras, PyTorch (if it is installed) and other explainers. The figures are in
docs/benchmark.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from rahelpers.cli.common import find_run
from rahelpers.core.store import MissingArtefactError
from tests.benchmarks.speed.suite import SIZES, run_bench, write_table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    multiple=True,
    metavar="SECTION",
    help="measure only this section; can be repeated. Default: all",
)
@click.option(
    "--profile", default="quick", show_default=True, type=click.Choice(list(SIZES)), help="sizes"
)
@click.option(
    "--run",
    "name",
    metavar="RUN",
    help="train on the curated films of this run. Default: a phantom cohort",
)
@click.option(
    "--weights",
    default="",
    help="where the fine-tuning of VGG16 starts: a path, or imagenet. Default: random weights, with"
    " an AUC that means nothing",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="also write the table, as CSV, or as Markdown if the name ends in .md",
)
def main(
    only: tuple[str, ...], profile: str, name: str | None, weights: str, out: Path | None
) -> None:
    """Measure this machine, and how much of its speed the project uses.

    For comparison: plain Keras, PyTorch (if it is installed) and other explainers.
    """
    try:
        run = find_run(name).folder if name else None
        table = run_bench(replace(SIZES[profile], run=run, weights=weights), only, click.echo)
    except (MissingArtefactError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if out:
        write_table(table, out)
        click.echo(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
