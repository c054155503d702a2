"""`rahelpers data`: which datasets there are, what they can answer, how to get them, and whether
they are whole.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from rahelpers.core.config import data_folder
from rahelpers.data.records import DATASETS, DatasetRecord, find_record

MOST_LINES = 40  # of one kind, on a terminal


@click.group()
def data() -> None:
    """Public datasets: list them, read their records, fetch and check them."""


def _stop(message: object, code: int = 1) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


def _record(name: str) -> DatasetRecord:
    try:
        return find_record(name)
    except ValueError as error:
        _stop(error, 2)


@data.command("list")
def list_datasets() -> None:
    """One line a source, and whether its files are here."""
    for record in DATASETS.values():
        click.echo(f"{record.name:14} {_state(record):12} {record.title} ({record.size})")


def _state(record: DatasetRecord) -> str:
    from rahelpers.data.download import FetchError, read_source

    if not record.is_remote:
        return "always here" if record.name == "phantom" else "yours"
    folder = data_folder(record.name)
    try:
        source = read_source(folder)
    except FetchError:
        return "damaged"
    if source:
        return "here" if source.complete else "incomplete"
    return "placed" if folder.is_dir() and any(folder.iterdir()) else "not here"


@data.command()
@click.argument("name")
def info(name: str) -> None:
    """Licence, citation, and what a dataset can and cannot answer."""
    record = _record(name)
    lines = [
        ("address", record.address),
        ("licence", record.licence),
        ("cite", record.citation),
        ("size", record.size),
    ]
    lines += [("can answer", words) for words in record.can] + [
        ("cannot answer", words) for words in record.cannot
    ]
    if record.repo:
        lines.append(
            (
                "version",
                record.revision
                or "none is recorded here: the first fetch pins the current commit in SOURCE.json",
            )
        )
    lines += [("file", f"{one.url}  SHA-256 {one.sha256}") for one in record.files]
    if record.is_remote:
        lines.append(("folder", str(data_folder(name))))
    if record.by_hand:
        lines.append(("by hand", record.by_hand))
    lines += [("layout", line) for line in record.layout.splitlines()]
    click.echo(record.title)
    before = ""
    for head, words in lines:
        click.echo(f"  {head if head != before else '':14} {words}")
        before = head


@data.command()
@click.argument("name")
@click.option(
    "--accept-licence",
    is_flag=True,
    help="accept the dataset's licence without being asked: for scripts",
)
def fetch(name: str, accept_licence: bool) -> None:
    """Download a dataset into its folder; a download that was stopped goes on."""
    from rahelpers.data.download import FetchError
    from rahelpers.data.download import fetch as fetch_dataset

    def accept(text: str) -> bool:
        click.echo(text)
        return accept_licence or (
            sys.stdin.isatty() and click.confirm("Do you accept the licence?")
        )

    record = _record(name)
    try:
        fetch_dataset(record, data_folder(name), accept, click.echo)
    except FetchError as error:
        _stop(f"{error}{'; give --accept-licence' if 'not accepted' in str(error) else ''}")
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on from here", err=True)
        sys.exit(130)


@data.command()
@click.argument("name", metavar="NAME_OR_MANIFEST")
def check(name: str) -> None:
    """Check a dataset's files, or a manifest (a path that ends in .csv). Exit code 1 where there
    are faults.
    """
    if name not in DATASETS and (name.endswith(".csv") or Path(name).is_file()):
        from rahelpers.curation.manifest_check import explain_faults

        faults, notes = explain_faults(name), []
    else:
        record = _record(name)
        if not record.is_remote:
            _stop(f"{name} has no files of its own to check", 2)
        faults, notes = check_dataset(record, data_folder(name))
    for kind, lines in (("note", notes), ("fault", faults)):
        for line in lines[:MOST_LINES]:
            click.echo(f"{kind}: {line}")
        if len(lines) > MOST_LINES:
            click.echo(f"{kind}: … and {len(lines) - MOST_LINES} more")
    click.echo(
        f"{name}: {len(faults)} fault{'s' * (len(faults) > 1)}" if faults else f"{name}: no faults"
    )
    sys.exit(bool(faults))


def check_dataset(record: DatasetRecord, folder: Path) -> tuple[list[str], list[str]]:
    """Faults of a dataset's files, and notes on what the authors published as it is.

    Parameters
    ----------
    record : DatasetRecord
    folder : Path

    Returns
    -------
    faults : list of str
        What is missing, damaged or not as the layout says.
    notes : list of str
        Films without scores, patients in two official splits, label counts.
    """
    from rahelpers.data.download import FetchError, changed_files, read_source

    adapter = import_module(f"rahelpers.data.sources.{record.name.replace('-', '_')}")
    faults, notes = [], []
    try:
        found = adapter.read_dataset(folder)
        faults, notes = found.faults, found.notes
    except ValueError as error:
        faults = [str(error)]
    try:
        source = read_source(folder)
        if source is None and folder.is_dir():
            notes.insert(
                0,
                "there is no SOURCE.json: the files were placed by hand, and their SHA-256 is not"
                " compared with anything",
            )
        elif source:
            faults += changed_files(folder, source) + (
                [] if source.complete else ["SOURCE.json: the fetch has not finished"]
            )
    except FetchError as error:
        faults.append(str(error))
    return faults, notes
