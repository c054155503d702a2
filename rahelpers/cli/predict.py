"""`rahelpers predict`: a folder of films in, a table out."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from contextlib import ExitStack
from operator import methodcaller
from pathlib import Path

import click

from rahelpers.cli.common import fail, find_folder
from rahelpers.core.store import write_atomically


@click.command()
@click.argument("trained", metavar="RUN_OR_BUNDLE")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default="results.csv",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="table to write, one row per hand",
)
@click.option(
    "--json",
    "lines",
    default=None,
    type=click.Path(path_type=Path, dir_okay=False),
    help="also write a file with one JSON object per line, with everything that is known",
)
@click.option(
    "--report",
    "reports",
    default=None,
    type=click.Path(path_type=Path, file_okay=False),
    help="also write reports into this folder: HTML, PDF, JSON and DICOM Secondary Capture",
)
@click.option(
    "--side",
    default="",
    type=click.Choice(["", "L", "R"]),
    help="side of all films, for films that do not state it",
)
def predict(
    trained: str, folder: Path, out: Path, lines: Path | None, reports: Path | None, side: str
) -> None:
    """Predict every film in a folder with a trained bundle.

    A bad film never stops the others. For education and research only.
    """
    from rahelpers.display.pages import BANNER
    from rahelpers.evaluation.external import find_bundle
    from rahelpers.prediction.exports import WRITERS, file_stem, write_json
    from rahelpers.prediction.film import count_hidden, find_film_files, predict_films, to_row

    try:
        if reports and folder.resolve().is_relative_to(reports.resolve()):
            raise ValueError(
                f"--report {reports}: the films are in this folder, and reports would be read as"
                " films next time; name a folder of its own"
            )
        # all files of the folder, except those that this command writes
        own = {p.resolve() for p in (out, lines, reports) if p}
        # realpath: a link to itself is a film too, which cannot be read
        files = [
            film
            for film in find_film_files(folder)
            if own.isdisjoint(((path := Path(os.path.realpath(film))), *path.parents))
        ]
        bundle_folder, _ = find_bundle(find_folder(trained))
        from rahelpers.network.bundle import load_bundle  # TensorFlow, only once it is needed

        bundle = load_bundle(bundle_folder)
        for parent in [p.parent for p in (out, lines) if p] + ([reports] if reports else []):
            parent.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        fail(error, 2 if isinstance(error, ValueError) else 1)
    # each row is written at once: whoever stops a long run keeps what is done
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        table = stack.enter_context(open(out, "w", newline="", encoding="utf-8"))
        objects = stack.enter_context(open(lines, "w", encoding="utf-8")) if lines else None
        writer = None
        for result in predict_films(bundle, files, folder, side, heatmaps=bool(reports)):
            # one row of the table
            row = to_row(result)
            if writer is None:
                writer = csv.DictWriter(table, list(row))
                writer.writeheader()
            writer.writerow(row)
            table.flush()
            # what was asked for besides
            if objects:
                objects.write(json.dumps(json.loads(write_json(result))) + "\n")
            if reports and result.probability is not None:
                for suffix, write in WRITERS.items():
                    file = reports / f"{file_stem(result)}.{suffix}"
                    write_atomically(file, methodcaller("write_bytes", write(result)))
            # a film that could not be read is named at once
            if result.status == "error":
                click.echo(f"{result.file}: {result.reasons[0]}", err=True)
            counts[result.status] += 1
    hands = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    click.echo(f"{len(files)} files: {hands} (hands). {bundle.info['title']}.")
    click.echo(f"  table    {out}")
    if reports:
        click.echo(f"  reports  {reports}")
    n_hidden = count_hidden(folder)
    if n_hidden:
        click.echo(f"  {n_hidden} hidden files (their names begin with a dot) were not read")
    click.echo(BANNER)
    sys.exit(1 if counts["error"] else 0)
