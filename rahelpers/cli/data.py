"""`rahelpers data`: list the datasets, say what they can answer, fetch and check them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from rahelpers.cli.common import fail
from rahelpers.core.config import data_folder
from rahelpers.data.records import DATASETS, DatasetRecord, find_record

MOST_LINES = 40  # of one kind, on a terminal


@click.group()
def data() -> None:
    """List, describe, fetch and check public datasets."""


def _record(name: str) -> DatasetRecord:
    try:
        return find_record(name)
    except ValueError as error:
        fail(error)


@data.command("list")
def list_datasets() -> None:
    """Print one line per source, and whether its files are here."""
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
    """Describe a dataset: licence, citation, what it can answer."""
    record = _record(name)
    unpinned = "none is recorded here; the first fetch pins the current commit in SOURCE.json"
    sections = {
        "address": [record.address],
        "licence": [record.licence],
        "cite": [record.citation],
        "size": [record.size],
        "can answer": record.can,
        "cannot answer": record.cannot,
        "version": [record.revision or unpinned] if record.repo else [],
        "file": [f"{one.url}  SHA-256 {one.sha256}" for one in record.files],
        "folder": [data_folder(name)] if record.is_remote else [],
        "by hand": [record.by_hand] if record.by_hand else [],
        "layout": record.layout.splitlines(),
    }
    click.echo(record.title)
    for head, lines in sections.items():
        for i, line in enumerate(lines):
            click.echo(f"  {'' if i else head:14} {line}")


@data.command()
@click.argument("name")
@click.option(
    "--accept-licence",
    is_flag=True,
    help="accept the dataset's licence without being asked; for scripts",
)
def fetch(name: str, accept_licence: bool) -> None:
    """Download a dataset; a download that was stopped resumes."""
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
        fail(f"{error}{'; add --accept-licence' if 'not accepted' in str(error) else ''}", 1)
    except KeyboardInterrupt:
        click.echo("\nstopped; run the same command again to resume", err=True)
        sys.exit(130)


@data.command()
@click.argument("name", metavar="NAME_OR_MANIFEST")
def check(name: str) -> None:
    """Check the files of a dataset, or a manifest.

    A manifest is a path that ends in .csv. The exit code is 1 if there are faults.
    """
    notes: list[str] = []
    if name not in DATASETS and (name.endswith(".csv") or Path(name).is_file()):
        from rahelpers.curation.manifest_check import check_file

        faults, notes = check_file(name)
    else:
        record = _record(name)
        if not record.is_remote:
            fail(f"{name} has no files of its own to check")
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
    """Faults of a dataset's files, and notes on oddities of the publication itself.

    Parameters
    ----------
    record : DatasetRecord
    folder : Path

    Returns
    -------
    faults : list of str
        What is missing, damaged or not as the layout describes it.
    notes : list of str
        Films without scores, patients in two official splits, numbers of labels.
    """
    from rahelpers.data.download import FetchError, changed_files, read_source

    adapter = import_module(f"rahelpers.data.sources.{record.name.replace('-', '_')}")
    faults: list[str] = []
    notes: list[str] = []
    # is everything there, and as the layout describes it?
    try:
        found = adapter.read_dataset(folder)
        faults, notes = found.faults, found.notes
    except ValueError as error:
        faults = [str(error)]
    # is it what was fetched?
    try:
        source = read_source(folder)
        if source:
            faults += changed_files(folder, source)
            faults += [] if source.complete else ["SOURCE.json: the fetch has not finished"]
        elif folder.is_dir():
            by_hand = "there is no SOURCE.json: the files were placed by hand, and there is no"
            notes.insert(0, f"{by_hand} SHA-256 to compare theirs with")
    except FetchError as error:
        faults.append(str(error))
    return faults, notes
