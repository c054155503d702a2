"""`rahelpers predict`: a folder of films in, a table out."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import click

from rahelpers.core.config import project_root
from rahelpers.core.store import DamagedArtefactError, MissingArtefactError, write_atomically


@click.command()
@click.argument("trained", metavar="RUN_OR_BUNDLE")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default="results.csv",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="the table, one row a hand",
)
@click.option(
    "--json",
    "lines",
    default=None,
    type=click.Path(path_type=Path, dir_okay=False),
    help="also one JSON object a line, with all that is known",
)
@click.option(
    "--report",
    "reports",
    default=None,
    type=click.Path(path_type=Path, file_okay=False),
    help="also a report of each film into this folder: HTML, PDF, JSON and DICOM Secondary Capture",
)
@click.option(
    "--side",
    default="",
    type=click.Choice(["", "L", "R"]),
    help="all films are of this side and do not say so",
)
def predict(
    trained: str, folder: Path, out: Path, lines: Path | None, reports: Path | None, side: str
) -> None:
    """Answer every film in FOLDER with a trained bundle. One bad film never stops the rest. For
    education and research only.
    """
    from rahelpers.evaluation.external import find_bundle
    from rahelpers.prediction.exports import WRITERS, file_stem, write_json
    from rahelpers.prediction.film import find_film_files, predict_films, to_row

    try:
        path = next(
            (p for p in (project_root() / "runs" / trained, Path(trained)) if p.exists()),
            Path(trained),
        ).resolve()
        files = find_film_files(folder)
        own = {p.resolve() for p in (out, lines) if p}
        files = [
            f
            for f in files
            if f.resolve() not in own
            and not (reports and f.resolve().is_relative_to(reports.resolve()))
        ]
        bundle_folder, _ = find_bundle(path)
        from rahelpers.network.bundle import load_bundle

        bundle = load_bundle(bundle_folder)
        for parent in {p.parent for p in (out, lines) if p} | ({reports} if reports else set()):
            parent.mkdir(parents=True, exist_ok=True)
    except (MissingArtefactError, DamagedArtefactError, ValueError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, ValueError) else 1)
    counts: Counter[str] = Counter()
    # rows go to the file as they come: who stops a long run keeps what is done
    with ExitStack() as stack:
        table = stack.enter_context(open(out, "w", newline="", encoding="utf-8"))
        objects = stack.enter_context(open(lines, "w", encoding="utf-8")) if lines else None
        writer = None
        for result in predict_films(bundle, files, folder, side, heatmaps=bool(reports)):
            row = to_row(result)
            if writer is None:
                writer = csv.DictWriter(table, list(row))
                writer.writeheader()
            writer.writerow(row)
            table.flush()
            if objects:
                objects.write(json.dumps(json.loads(write_json(result))) + "\n")
            if reports and result.probability is not None:
                for suffix, write in WRITERS.items():
                    write_atomically(
                        reports / f"{file_stem(result)}.{suffix}",
                        lambda p, w=write, r=result: p.write_bytes(w(r)),
                    )
            if result.status == "error":
                click.echo(f"{result.file}: {result.reasons[0]}", err=True)
            counts[result.status] += 1
    click.echo(
        f"{len(files)} files: "
        + ", ".join(f"{n} {status}" for status, n in counts.most_common())
        + f" (hands). {bundle.info['title']}."
    )
    click.echo(f"  table    {out}")
    if reports:
        click.echo(f"  reports  {reports}")
    click.echo("Education and research only. Not for diagnosis or treatment.")
    sys.exit(1 if counts["error"] else 0)
