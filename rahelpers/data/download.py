"""Download a public dataset: pinned to a version, resumed after a stop, checked by SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rahelpers.core.store import sha256_of, write_json
from rahelpers.data.records import DatasetRecord

SOURCE_FILE = "SOURCE.json"
LICENCE_FILE = "LICENCE_ACCEPTED.json"
HUB = "https://huggingface.co"
TIMEOUT = 20  # seconds without a byte
BLOCK = 1 << 16  # bytes; at most this many are fetched twice after a stop
MOST_NAMED = 5  # faulty files that a message names


class FetchError(RuntimeError):
    """The dataset could not be had; says which address was tried, what happened, and what to do."""


@dataclass(kw_only=True)
class Fetched:
    """What a dataset's folder contains, as SOURCE.json records it.

    Attributes
    ----------
    name, address, licence, date : str
    commit : str
        Pinned revision on the Hub; '' for files from plain addresses.
    complete : bool
        False while a download is in progress.
    files : dict
        Path under the folder -> SHA-256.
    """

    name: str
    address: str
    licence: str
    date: str
    commit: str = ""
    complete: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write SOURCE.json."""
        write_json(folder / SOURCE_FILE, asdict(self))


def read_source(folder: Path) -> Fetched | None:
    """SOURCE.json of a dataset's folder; None where there is none.

    Raises
    ------
    FetchError
        If it is damaged: the pinned version is never guessed.
    """
    file = folder / SOURCE_FILE
    if not file.exists():
        return None
    try:
        return Fetched(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise FetchError(
            f"{file} is damaged ({error}); delete it to pin the current version instead"
        ) from None


def hub_endpoint() -> str:
    """Address of the Hugging Face Hub, or of the mirror that HF_ENDPOINT names.

    The variable is read at each call; huggingface_hub itself reads it once, at import.
    """
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def fetch(
    record: DatasetRecord,
    folder: Path,
    accept: Callable[[str], bool],
    say: Callable[[str], None] = print,
) -> Fetched:
    """Download a dataset, or the part of it that is missing.

    Parameters
    ----------
    record : DatasetRecord
    folder : Path
        Where it goes; created if needed.
    accept : callable
        Receives the licence's text and returns True to accept it. It is called once per licence:
        the folder remembers the answer.
    say : callable
        Prints a line.

    Raises
    ------
    FetchError
        If the licence is refused, an address does not answer, or a file is not what its checksum
        says.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rahelpers.data import fetch, find_record
    >>> fetch(find_record("ram-w600"), Path("data/ram-w600"), input)  # doctest: +SKIP
    >>> fetch(find_record("phantom"), Path("data/phantom"), input)
    Traceback (most recent call last):
    ...
    rahelpers.data.download.FetchError: phantom has nothing to download: ...
    """
    if not record.is_remote:
        raise FetchError(f"{record.name} has nothing to download: {record.title}, {record.address}")
    here = read_source(folder)
    if here and here.complete and not changed_files(folder, here):
        say(
            f"{record.name}: {len(here.files)} files are present and unchanged, pinned to"
            f" {here.commit or 'their SHA-256'}; nothing to fetch"
        )
        return here
    done = (
        _fetch_hub(record, folder, here, accept, say)
        if record.repo
        else _fetch_files(record, folder, accept, say)
    )
    say(
        f"{record.name}: {len(done.files)} files in {folder}, the SHA-256 of each in"
        f" {SOURCE_FILE}\nLicence: {done.licence}\nCite: {record.citation}"
    )
    return done


def changed_files(folder: Path, source: Fetched) -> list[str]:
    """Files of SOURCE.json that are missing or have changed since, one sentence each."""
    faults = []
    recorded = sorted(source.files.items())
    for name, expected in tqdm(recorded, desc="checking SHA-256", unit="file", delay=2):
        path = folder / name
        if not path.is_file():
            faults.append(f"{name}: is missing")
        elif sha256_of(path) != expected:
            faults.append(f"{name}: is not the file that was fetched (its SHA-256 differs)")
    return faults


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _ask_licence(
    record: DatasetRecord, licence: str, folder: Path, accept: Callable[[str], bool]
) -> None:
    """Ask once, and again only if the licence has changed."""
    file = folder / LICENCE_FILE
    try:
        known = json.loads(file.read_text(encoding="utf-8")).get("licence")
    except (OSError, ValueError, AttributeError):
        known = None  # not accepted yet, or unreadable: then ask
    if known == licence:
        return
    terms = {"address": record.address, "licence": licence, "cite": record.citation}
    lines = [record.title, *(f"  {head:8} {words}" for head, words in terms.items())]
    if not accept("\n".join(lines)):
        raise FetchError(f"{record.name}: the licence was not accepted; nothing was downloaded")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {"licence": licence, "date": _now()})


def _failed(record: DatasetRecord, folder: Path, address: str, error: object) -> FetchError:
    layout = "\n".join(f"    {line}" for line in record.layout.splitlines())
    return FetchError(
        f"{record.name}: could not be fetched from {address} ({error}).\n"
        f"  The same command resumes from what is here. Without a network: {record.by_hand}.\n"
        f"  Place the files in {folder} like this, then run `rahelpers data check {record.name}`:\n"
        f"{layout}"
    )


# ------------------------------------------------------------------ Hugging Face Hub


def _fetch_hub(
    record: DatasetRecord,
    folder: Path,
    here: Fetched | None,
    accept: Callable[[str], bool],
    say: Callable[[str], None],
) -> Fetched:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.hf_api import RepoFile

    # what its HTTP library raises where nobody answers: httpx under version 1, httpx2 under 2
    no_answer: Any = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    endpoint = hub_endpoint()
    address = f"{endpoint}/datasets/{record.repo}"
    api = HfApi(endpoint=endpoint, token=False)  # public datasets: nobody's token is read or sent
    pin = record.revision or (here.commit if here else "")
    try:
        # which version, and under which licence
        info = api.dataset_info(record.repo, revision=pin or None, timeout=TIMEOUT)
        licence = _licence_of_card(info, record)
        _ask_licence(record, licence, folder, accept)
        if pin and info.sha != pin:
            raise OSError(f"asked for commit {pin}, the server answered {info.sha}")
        if pin:
            say(f"{record.name}: pinned to commit {pin}")
        else:
            say(
                f"{record.name}: no version was pinned yet. This fetch pins the current commit"
                f" {info.sha}\n  in {folder / SOURCE_FILE}; later fetches and checks keep to it"
            )
        # the pin is written before the first byte: a stopped download resumes with this version
        folder.mkdir(parents=True, exist_ok=True)
        done = Fetched(
            name=record.name, address=address, licence=licence, date=_now(), commit=info.sha or ""
        )
        if here and here.commit == info.sha:
            done.files = here.files
        done.write(folder)
        # download; the list of files is fetched first, because without a network snapshot_download
        # takes any folder that is not empty for the whole dataset
        version: dict[str, Any] = {"repo_type": "dataset", "revision": info.sha}
        entries = api.list_repo_tree(record.repo, recursive=True, **version)
        tree = [entry for entry in entries if isinstance(entry, RepoFile)]
        _say_space(tree, folder, say)
        api.snapshot_download(record.repo, local_dir=folder, max_workers=4, **version)
        # compare every file with the checksum that the Hub lists
        say("  checking every file")
        checked = api.verify_repo_checksums(record.repo, local_dir=folder, **version)
    except (
        no_answer,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        words = str(error).splitlines()[0] if str(error) else "no answer"
        raise _failed(record, folder, address, f"{type(error).__name__}: {words}") from None
    wrong = [f"{name} is missing" for name in checked.missing_paths]
    for fault in checked.mismatches:
        (folder / fault["path"]).unlink()  # else the next fetch would take it for a finished file
        wrong.append(f"{fault['path']} is not what the Hub lists (checksum), and was deleted")
    if wrong:
        more = [f"and {len(wrong) - MOST_NAMED} more"] if len(wrong) > MOST_NAMED else []
        raise _failed(record, folder, address, "; ".join(wrong[:MOST_NAMED] + more))
    # the Hub lists the SHA-256 of large files, and only git's own hash of small ones
    done.files = {
        entry.path: entry.lfs.sha256 if entry.lfs else sha256_of(folder / entry.path)
        for entry in tree
    }
    done.complete = True
    done.write(folder)
    return done


def _licence_of_card(info: object, record: DatasetRecord) -> str:
    """The licence by the dataset's card today; by our record where the card names none."""
    card = getattr(info, "card_data", None)
    words = getattr(card, "license", None) or getattr(card, "license_name", None)
    if not words:
        return f"{record.licence} (the card names none)"
    return f"{', '.join(words) if isinstance(words, list) else words} (as the dataset's card says)"


def _say_space(tree: list, folder: Path, say: Callable[[str], None]) -> None:
    missing = sum(f.size for f in tree if not (folder / f.path).is_file())
    free = shutil.disk_usage(folder).free
    say(f"  {len(tree)} files, {missing / 1e9:.2f} GB to fetch, {free / 1e9:.0f} GB free")
    if missing > free:
        raise OSError(f"{folder} has {free / 1e9:.1f} GB free, {missing / 1e9:.1f} GB are needed")


# ------------------------------------------------------------------ plain addresses


def _fetch_files(
    record: DatasetRecord, folder: Path, accept: Callable[[str], bool], say: Callable[[str], None]
) -> Fetched:
    import pooch
    import requests

    _ask_licence(record, record.licence, folder, accept)
    folder.mkdir(parents=True, exist_ok=True)
    done = Fetched(name=record.name, address=record.address, licence=record.licence, date=_now())
    pooch.get_logger().setLevel("WARNING")
    for one in record.files:
        say(f"{record.name}: {one.name}")
        try:
            path = pooch.retrieve(
                one.url,
                known_hash=f"sha256:{one.sha256}",
                fname=one.name,
                path=folder,
                downloader=_resume,
            )
            _unpack(Path(path), folder)
        except (
            requests.exceptions.RequestException,
            OSError,
            ValueError,
            zipfile.BadZipFile,
        ) as error:
            words = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise _failed(record, folder, one.url, words) from None
    # what was unpacked, without the archives and our own notes
    notes = (SOURCE_FILE, LICENCE_FILE)
    kept = [
        p
        for p in folder.rglob("*")
        if p.is_file()
        and p.suffix.lower() != ".zip"
        and p.name not in notes
        and not p.name.startswith(".")
    ]
    done.files = {
        p.relative_to(folder).as_posix(): sha256_of(p)
        for p in tqdm(sorted(kept), desc="computing SHA-256", unit="file", delay=2)
    }
    done.complete = True
    done.write(folder)
    say(
        "  the zip files are no longer needed; if you keep them, a damaged film is restored without"
        " a download"
    )
    return done


def _resume(url: str, output_file: str, _pooch: object) -> None:
    """A downloader for pooch that resumes where it stopped; pooch's own starts 10 GB again."""
    import requests

    target = Path(output_file)
    part = target.with_name(f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.part")
    have = part.stat().st_size if part.exists() else 0
    with requests.get(
        url, stream=True, timeout=TIMEOUT, headers={"Range": f"bytes={have}-"} if have else {}
    ) as answer:
        if answer.status_code == 416:  # nothing is left to fetch; pooch checks the SHA-256
            shutil.move(part, target)
            return
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0  # the server sends the file from its start again
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc="  fetching")
        with open(part, "ab" if have else "wb") as file, bar:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        if total and part.stat().st_size < total:
            raise requests.exceptions.ConnectionError(
                f"the connection ended after {part.stat().st_size} of {total} bytes"
            )
    shutil.move(part, target)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a zip file into a folder, and the zip files inside it where they are.

    zipfile itself keeps names with `..` inside the folder.
    """
    with zipfile.ZipFile(path) as archive:
        names = [i for i in archive.infolist() if not i.is_dir()]
        for info in tqdm(names, desc="  unpacking", unit="file", delay=2):
            archive.extract(info, folder)
    for info in names:
        inner = folder / info.filename
        if inner.suffix.lower() == ".zip" and inner.is_file():
            _unpack(inner, inner.parent)
