"""Download a public dataset: pinned, resumed, checked by SHA-256. Nothing is taken for granted when
the network is away.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from rahelpers.core.store import sha256_of, write_json
from rahelpers.data.records import DatasetRecord

SOURCE_FILE = "SOURCE.json"
LICENCE_FILE = "LICENCE_ACCEPTED.json"
HUB = "https://huggingface.co"
TIMEOUT = 20  # seconds without a byte
BLOCK = 1 << 16  # bytes; at most so many are fetched twice after a stop


class FetchError(RuntimeError):
    """The dataset is not here: says which address was tried, what happened, and how to go on."""


@dataclass
class Fetched:
    """What lies in a dataset's folder, as SOURCE.json holds it.

    Attributes
    ----------
    name, address, licence, date : str
    commit : str
        Pinned revision of the Hub; '' for files from plain addresses.
    complete : bool
        False while a download is under way.
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
        """Into SOURCE.json."""
        write_json(folder / SOURCE_FILE, self.__dict__)


def read_source(folder: Path) -> Fetched | None:
    """SOURCE.json of a dataset's folder; None where there is none.

    Raises
    ------
    FetchError
        If it is damaged: the pin is not guessed anew.
    """
    file = folder / SOURCE_FILE
    if not file.exists():
        return None
    try:
        return Fetched(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise FetchError(
            f"{file} is damaged ({error}); delete it to pin the current version anew"
        ) from None


def hub_endpoint() -> str:
    """Address of the Hugging Face Hub: HF_ENDPOINT where it is set (a mirror), read now and not
    when huggingface_hub was imported.
    """
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def fetch(
    record: DatasetRecord,
    folder: Path,
    accept: Callable[[str], bool],
    say: Callable[[str], None] = print,
) -> Fetched:
    """Get a dataset, or what is missing of it.

    Parameters
    ----------
    record : DatasetRecord
    folder : Path
        Where it goes; made where it is not there.
    accept : callable
        Gets the licence's text; asked once a licence, its answer is remembered in the folder.
    say : callable
        Prints a line.

    Raises
    ------
    FetchError
    """
    if not record.is_remote:
        raise FetchError(f"{record.name} has nothing to download: {record.title}, {record.address}")
    here = read_source(folder)
    if here and here.complete and not changed_files(folder, here):
        say(
            f"{record.name}: {len(here.files)} files are here and unchanged, pinned to"
            f" {here.commit or 'their SHA-256'}; nothing to fetch"
        )
        return here
    done = (
        _fetch_hub(record, folder, here, accept, say)
        if record.repo
        else _fetch_files(record, folder, accept, say)
    )
    say(
        f"{record.name}: {len(done.files)} files in {folder}, SHA-256 of each in"
        f" {SOURCE_FILE}\nLicence: {done.licence}\nCite: {record.citation}"
    )
    return done


def changed_files(folder: Path, source: Fetched) -> list[str]:
    """Files of SOURCE.json that are missing or are not what was fetched, one sentence each."""
    faults = []
    for name, expected in tqdm(
        sorted(source.files.items()), desc="checking SHA-256", unit="file", delay=2
    ):
        path = folder / name
        if not path.is_file():
            faults.append(f"{name}: is missing")
        elif sha256_of(path) != expected:
            faults.append(f"{name}: is not the file that was fetched (its SHA-256 is another)")
    return faults


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _ask_licence(
    record: DatasetRecord, licence: str, folder: Path, accept: Callable[[str], bool]
) -> None:
    """Ask once; ask again only where the licence has become another."""
    file = folder / LICENCE_FILE
    try:
        known = json.loads(file.read_text(encoding="utf-8")).get("licence")
    except (OSError, ValueError, AttributeError):
        known = None  # not accepted yet, or not readable: then ask
    if known == licence:
        return
    if not accept(
        f"{record.title}\n  address  {record.address}\n  licence  {licence}\n  cite    "
        f" {record.citation}"
    ):
        raise FetchError(f"{record.name}: the licence was not accepted; nothing was downloaded")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {"licence": licence, "date": _now()})


def _failed(record: DatasetRecord, folder: Path, address: str, error: object) -> FetchError:
    layout = "\n".join(f"    {line}" for line in record.layout.splitlines())
    return FetchError(
        f"{record.name}: could not be fetched from {address} ({error}).\n  The same command goes on"
        f" from what is here. Without a network: {record.by_hand}.\n  Place the files in {folder}"
        f" like this, then run `rahelpers data check {record.name}`:\n{layout}"
    )


# ------------------------------------------------------------------ Hugging Face Hub


def _fetch_hub(
    record: DatasetRecord,
    folder: Path,
    here: Fetched | None,
    accept: Callable[[str], bool],
    say: Callable[[str], None],
) -> Fetched:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # what its HTTP library raises where nobody answers: httpx under version 1, httpx2 under version
    # 2
    no_answer = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    endpoint = hub_endpoint()
    address = f"{endpoint}/datasets/{record.repo}"
    api = HfApi(endpoint=endpoint, token=False)  # public datasets: nobody's token is read or sent
    pin = record.revision or (here.commit if here else "")
    try:
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
                f" {info.sha}"
            )
            say(f"  in {folder / SOURCE_FILE}; later fetches and checks keep to it")
        done = Fetched(
            record.name,
            address,
            licence,
            _now(),
            info.sha,
            files=here.files if here and here.commit == info.sha else {},
        )
        folder.mkdir(parents=True, exist_ok=True)
        done.write(
            folder
            # the pin stands before the first byte, so that a stopped download goes on with the same
            # version
        )
        # snapshot_download would take a folder that is not empty for the dataset when the network
        # goes away: so the list is made here
        tree = [
            f
            for f in api.list_repo_tree(
                record.repo, recursive=True, revision=info.sha, repo_type="dataset"
            )
            if hasattr(f, "size")
        ]
        _say_space(tree, folder, say)
        snapshot_download(
            record.repo,
            repo_type="dataset",
            revision=info.sha,
            local_dir=folder,
            endpoint=endpoint,
            token=False,
            max_workers=4,
        )
    except (
        no_answer,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
    ) as error:
        raise _failed(
            record,
            folder,
            address,
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}",
        ) from None
    done.files = _verify_hub(record, folder, address, tree)
    done.complete = True
    done.write(folder)
    return done


def _licence_of_card(info: object, record: DatasetRecord) -> str:
    """What the dataset's card says now; the record's own words where it says nothing."""
    card = getattr(info, "card_data", None)
    words = getattr(card, "license", None) or getattr(card, "license_name", None)
    return (
        f"{', '.join(words) if isinstance(words, list) else words} (as the dataset's card says)"
        if words
        else f"{record.licence} (the card names none)"
    )


def _say_space(tree: list, folder: Path, say: Callable[[str], None]) -> None:
    missing = sum(f.size for f in tree if not (folder / f.path).is_file())
    free = shutil.disk_usage(folder).free
    say(f"  {len(tree)} files, {missing / 1e9:.2f} GB to fetch, {free / 1e9:.0f} GB free")
    if missing > free:
        raise OSError(f"{folder} has {free / 1e9:.1f} GB free, {missing / 1e9:.1f} GB are needed")


def _verify_hub(record: DatasetRecord, folder: Path, address: str, tree: list) -> dict[str, str]:
    """SHA-256 of every file, each compared with what the Hub lists: the SHA-256 of large files,
    git's hash of small ones.
    """
    files, wrong = {}, []
    for one in tqdm(tree, desc="checking SHA-256", unit="file", delay=2):
        path = folder / one.path
        if not path.is_file():
            wrong.append(f"{one.path} is missing")
            continue
        files[one.path] = sha256_of(path)
        same = (
            _git_hash(path) == one.blob_id if one.lfs is None else files[one.path] == one.lfs.sha256
        )
        if not same:
            path.unlink()  # else the next fetch would take it for the finished file
            wrong.append(f"{one.path} has another SHA-256 than the Hub lists, and was deleted")
    if wrong:
        raise _failed(
            record,
            folder,
            address,
            "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""),
        )
    return files


def _git_hash(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


# ------------------------------------------------------------------ plain addresses


def _fetch_files(
    record: DatasetRecord, folder: Path, accept: Callable[[str], bool], say: Callable[[str], None]
) -> Fetched:
    import pooch
    import requests

    _ask_licence(record, record.licence, folder, accept)
    folder.mkdir(parents=True, exist_ok=True)
    done = Fetched(record.name, record.address, record.licence, _now())
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
            raise _failed(
                record, folder, one.url, f"{type(error).__name__}: {str(error).splitlines()[0]}"
            ) from None
    kept = [
        p
        for p in folder.rglob("*")
        if p.is_file()
        and p.suffix.lower() != ".zip"
        and p.name[0] != "."
        and p.name not in (SOURCE_FILE, LICENCE_FILE)
    ]
    done.files = {
        p.relative_to(folder).as_posix(): sha256_of(p)
        for p in tqdm(sorted(kept), desc="taking SHA-256", unit="file", delay=2)
    }
    done.complete = True
    done.write(folder)
    say(
        "  the zip files are not needed any more; where they stay, a damaged film is mended without"
        " a download"
    )
    return done


def _resume(url: str, output_file: str, _pooch: object) -> None:
    """A downloader for pooch that goes on where it stopped: pooch's own begins 10 GB again."""
    import requests

    target = Path(output_file)
    part = target.with_name(f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.part")
    have = part.stat().st_size if part.exists() else 0
    with requests.get(
        url, stream=True, timeout=TIMEOUT, headers={"Range": f"bytes={have}-"} if have else {}
    ) as answer:
        if (
            answer.status_code == 416
        ):  # all of it is here already: the checksum says whether it is right
            shutil.move(part, target)
            return
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0  # the server sends the whole file again
        total = have + int(answer.headers.get("Content-Length", 0))
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(
                total=total or None, initial=have, unit="B", unit_scale=True, desc="  fetching"
            ) as bar,
        ):
            for block in answer.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        if total and part.stat().st_size < total:
            raise requests.exceptions.ConnectionError(
                f"the connection ended after {part.stat().st_size} of {total} bytes"
            )
    shutil.move(part, target)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a zip file, and zip files inside it, beside what is there; zipfile itself keeps names
    with `..` inside the folder.
    """
    with zipfile.ZipFile(path) as archive:
        names = [i for i in archive.infolist() if not i.is_dir()]
        for info in tqdm(names, desc="  unpacking", unit="file", delay=2):
            archive.extract(info, folder)
    for info in names:
        inner = folder / info.filename
        if inner.suffix.lower() == ".zip" and inner.is_file():
            _unpack(inner, inner.parent)
