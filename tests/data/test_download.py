"""Downloads from servers on 127.0.0.1: resumed, pinned, checked, and clear without a network.

No test leaves this machine.
"""

import contextlib
import hashlib
import http.server
import io
import json
import re
import threading
import zipfile
from dataclasses import replace

import pytest
from click.testing import CliRunner

from rahelpers.cli.main import main
from rahelpers.data import download as fetching
from rahelpers.data.download import FetchError, changed_files, fetch, read_source
from rahelpers.data.records import RAM_W600, RSNA_BONE_AGE, RemoteFile

COMMIT, NEWER = "a" * 40, "b" * 40


class Server:
    """A server whose answers are a function of the request; it remembers what was asked."""

    def __init__(self, answer):
        self.asked: list[tuple[str, str, dict]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append((self.command, self.path, dict(self.headers)))
                status, headers, body, stop_after = answer(self.command, self.path, self.headers)
                self.send_response(status)
                for key, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body if stop_after is None else body[:stop_after])
                if stop_after is not None:
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(answer):
            server = Server(answer)
            stack.callback(server.close)
            return server

        yield start


def yes(_text):
    return True


# ------------------------------------------------------------------ plain addresses, with pooch


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


class Archive:
    """One zip file; `stop_after` cuts the connection, `ranges` says whether ranges are served."""

    def __init__(self, body: bytes):
        self.body, self.stop_after, self.ranges = body, None, True

    def __call__(self, _command, _path, headers):
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        if asked and self.ranges:
            start = int(asked.group(1))
            if start >= len(self.body):
                return 416, {}, b"", None
            return (
                206,
                {"Content-Range": f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"},
                self.body[start:],
                self.stop_after,
            )
        return 200, {}, self.body, self.stop_after


FILMS = {
    "boneage-training-dataset/1.png": b"x" * 300_000,
    "train.csv": b"id,boneage,male\n1,100,True\n",
}


@pytest.fixture
def archive():
    return Archive(
        zipped(FILMS | {"Bone Age Validation Set/inner.zip": zipped({"inner/2.png": b"y" * 1000})})
    )


def record_of(server, archive, sha256=None):
    one = RemoteFile(
        f"{server.address}/set.zip", sha256 or hashlib.sha256(archive.body).hexdigest(), "set.zip"
    )
    return replace(RSNA_BONE_AGE, files=(one,))


def test_pooch_fetches_unpacks_and_remembers(serve, archive, tmp_path):
    server = serve(archive)
    said, asked = [], []
    done = fetch(
        record_of(server, archive),
        tmp_path / "d",
        lambda text: asked.append(text) or True,
        said.append,
    )
    assert (tmp_path / "d/boneage-training-dataset/1.png").read_bytes() == b"x" * 300_000
    assert (tmp_path / "d/Bone Age Validation Set/inner/2.png").exists(), (
        "the zip file inside the zip file"
    )
    assert set(done.files) == {
        *FILMS,
        "Bone Age Validation Set/inner/2.png",
    } and done == read_source(tmp_path / "d")
    assert len(asked) == 1 and "non-commercial" in asked[0] and "Halabi" in "\n".join(said)
    n = len(server.asked)
    fetch(
        record_of(server, archive),
        tmp_path / "d",
        lambda _: pytest.fail("asked for the licence twice"),
        said.append,
    )
    assert len(server.asked) == n and "nothing to fetch" in said[-1]


def test_pooch_resumes_where_it_stopped(serve, archive, tmp_path):
    server = serve(archive)
    archive.stop_after = 100_000
    with pytest.raises(FetchError, match="resumes from what is here"):
        fetch(record_of(server, archive), tmp_path, yes, print)
    assert read_source(tmp_path) is None
    archive.stop_after = None
    fetch(record_of(server, archive), tmp_path, yes, print)
    assert server.asked[-1][2]["Range"] == "bytes=65536-" and not changed_files(
        tmp_path, read_source(tmp_path)
    )


def test_pooch_starts_again_where_the_server_cannot_resume(serve, archive, tmp_path):
    server = serve(archive)
    archive.stop_after, archive.ranges = 100_000, False
    with pytest.raises(FetchError):
        fetch(record_of(server, archive), tmp_path, yes, print)
    archive.stop_after = None
    assert fetch(record_of(server, archive), tmp_path, yes, print).complete


def test_pooch_refuses_a_wrong_checksum_and_leaves_nothing(serve, archive, tmp_path):
    server = serve(archive)
    with pytest.raises(
        FetchError,
        match=r"(?s)set\.zip.*hash.*Place the files in .*boneage-training-dataset/<id>\.png",
    ):
        fetch(record_of(server, archive, "0" * 64), tmp_path, yes, print)
    assert [p.name for p in tmp_path.iterdir()] == ["LICENCE_ACCEPTED.json"]


def test_zip_names_cannot_lead_out_of_the_folder(serve, tmp_path):
    archive = Archive(zipped({"../../evil.txt": b"e", "train.csv": b"id\n"}))
    fetch(record_of(serve(archive), archive), tmp_path / "a" / "b", yes, print)
    assert not list(tmp_path.glob("evil.txt")) and not list(tmp_path.glob("a/evil.txt"))


@pytest.fixture
def nobody(serve):
    """An address that nobody answers."""
    server = Server(lambda *_: (200, {}, b"", None))
    server.close()
    return server


def test_offline_says_address_and_how_to_place_by_hand(nobody, archive, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch(record_of(nobody, archive), tmp_path, yes, print)
    for part in (
        f"{nobody.address}/set.zip",
        "Without a network",
        "train.csv or boneage-training-dataset.csv",
        str(tmp_path),
    ):
        assert part in str(caught.value)


def test_a_refused_licence_downloads_nothing(serve, archive, tmp_path):
    server = serve(archive)
    with pytest.raises(FetchError, match="not accepted"):
        fetch(record_of(server, archive), tmp_path / "d", lambda _: False, print)
    assert not server.asked and not (tmp_path / "d").exists()


# ------------------------------------------------------------------ Hugging Face Hub


class Hub:
    """The few routes of the Hub that a download needs: dataset info, tree and resolve."""

    def __init__(self):
        self.files = {
            "Metadata.xlsx": b"m" * 500,
            "BoneSegmentation/images/1.bmp": b"1" * 2000,
            "BoneSegmentation/images/2.bmp": b"2" * 3000,
            "README.md": b"card",
        }
        self.small = {"README.md"}  # kept in git itself, not in LFS
        self.commit, self.licence = COMMIT, "cc-by-4.0"
        self.broken: set[str] = set()  # files that the server cannot give
        self.wrong: set[str] = set()  # files whose bytes are not what the tree lists
        self.down_after_tree = False

    def entry(self, name):
        body = self.files[name]
        one = {
            "type": "file",
            "path": name,
            "size": len(body),
            "oid": hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest(),
        }
        return (
            one
            if name in self.small
            else one
            | {
                "lfs": {
                    "oid": hashlib.sha256(body).hexdigest(),
                    "size": len(body),
                    "pointerSize": 130,
                }
            }
        )

    def __call__(self, command, path, headers):
        path = path.split("?")[0]
        api = f"/api/datasets/{RAM_W600.repo}"
        as_json = {"Content-Type": "application/json"}
        if path.startswith(f"{api}/tree/"):
            return 200, as_json, json.dumps([self.entry(n) for n in self.files]).encode(), None
        if path.startswith(api):
            asked = path.removeprefix(api).removeprefix("/revision/") or self.commit
            body = {
                "id": RAM_W600.repo,
                "sha": asked if len(asked) == 40 else self.commit,
                "cardData": {"license": self.licence},
                "tags": [],
                "private": False,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": n} for n in self.files],
            }
            return 200, as_json, json.dumps(body).encode(), None
        found = re.fullmatch(rf"/datasets/{RAM_W600.repo}/resolve/([0-9a-f]{{40}})/(.+)", path)
        if not found or found.group(2) not in self.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"", None
        name = found.group(2)
        if name in self.broken:
            return 403, {}, b"", None
        body = self.files[name] if name not in self.wrong else b"?" * len(self.files[name])
        entry = self.entry(name)
        return (
            200,
            {
                "ETag": f'"{entry.get("lfs", entry)["oid"]}"',
                "X-Repo-Commit": found.group(1),
                "Accept-Ranges": "bytes",
            },
            body,
            None,
        )


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def server(serve, hub, monkeypatch):
    server = serve(hub)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    return server


def gets(server):
    return [
        path.split("/resolve/")[1][41:]
        for command, path, _ in server.asked
        if command == "GET" and "/resolve/" in path
    ]


def test_hub_pins_the_commit_and_the_card_tells_the_licence(server, hub, tmp_path):
    said, asked = [], []
    done = fetch(RAM_W600, tmp_path, lambda text: asked.append(text) or True, said.append)
    text = "\n".join(said)
    assert (
        done.commit == COMMIT
        and done.complete
        and "no version was pinned yet" in text
        and COMMIT in text
        and "arXiv 2507.05193" in text
    )
    assert "cc-by-4.0 (as the dataset's card says)" in asked[0]
    assert done.files == {
        n: hashlib.sha256(b).hexdigest() for n, b in hub.files.items()
    } and not changed_files(tmp_path, done)
    assert not [h for *_, h in server.asked if "authorization" in {k.lower() for k in h}], (
        "nobody's token is sent"
    )


def test_hub_keeps_to_the_pin_when_there_is_a_newer_version(server, hub, tmp_path):
    fetch(RAM_W600, tmp_path, yes, print)
    hub.commit = NEWER
    (tmp_path / "Metadata.xlsx").unlink()
    said = []
    assert (
        fetch(RAM_W600, tmp_path, lambda _: pytest.fail("asked twice"), said.append).commit
        == COMMIT
    )
    assert f"pinned to commit {COMMIT}" in "\n".join(said) and not [
        p for _, p, _ in server.asked if NEWER in p
    ]


def test_hub_resumes_after_an_interruption(server, hub, tmp_path):
    hub.broken = {"Metadata.xlsx"}
    with pytest.raises(
        FetchError, match=r"(?s)datasets/TokyoTechMagicYang/RAM-W600.*resumes from what is here"
    ):
        fetch(RAM_W600, tmp_path, yes, print)
    assert not read_source(tmp_path).complete and read_source(tmp_path).commit == COMMIT
    fetched_before = {n for n in gets(server) if (tmp_path / n).exists()}
    assert fetched_before
    hub.broken, hub.commit = set(), NEWER
    server.asked.clear()
    assert fetch(RAM_W600, tmp_path, yes, print).commit == COMMIT
    assert "Metadata.xlsx" in gets(server) and not fetched_before & set(gets(server))


@pytest.mark.parametrize("name", ["BoneSegmentation/images/1.bmp", "README.md"])
def test_hub_refuses_bytes_that_are_not_what_it_lists(server, hub, tmp_path, name):
    hub.wrong = {name}
    with pytest.raises(FetchError, match=f"{name} is not what the Hub lists"):
        fetch(RAM_W600, tmp_path, yes, print)
    assert not (tmp_path / name).exists() and not read_source(tmp_path).complete
    hub.wrong = set()
    assert (
        fetch(RAM_W600, tmp_path, yes, print).complete
        and (tmp_path / name).read_bytes() == hub.files[name]
    )


def test_hub_asks_again_when_the_licence_changed(server, hub, tmp_path):
    fetch(RAM_W600, tmp_path, yes, print)
    hub.licence = "cc-by-nc-sa-4.0"
    (tmp_path / "README.md").unlink()
    with pytest.raises(FetchError, match="not accepted"):
        fetch(RAM_W600, tmp_path, lambda text: "cc-by-nc-sa" not in text, print)


def test_hub_offline_is_said_and_a_half_folder_is_not_taken_for_the_dataset(
    nobody, hub, monkeypatch, tmp_path
):
    """Without a network, huggingface_hub takes any folder that is not empty for the dataset."""
    monkeypatch.setenv("HF_ENDPOINT", nobody.address)
    (tmp_path / "some.bmp").write_bytes(b"1")
    with pytest.raises(FetchError) as caught:
        fetch(RAM_W600, tmp_path, yes, print)
    for part in (
        nobody.address,
        "Without a network: git clone",
        "JointLocationDetection/Joints.coco.json",
        str(tmp_path),
    ):
        assert part in str(caught.value)


def test_intact_files_need_no_network(server, nobody, hub, monkeypatch, tmp_path):
    fetch(RAM_W600, tmp_path, yes, print)
    monkeypatch.setenv("HF_ENDPOINT", nobody.address)
    said = []
    assert fetch(RAM_W600, tmp_path, yes, said.append).complete and "nothing to fetch" in said[0]
    (tmp_path / "README.md").write_text("edited")
    with pytest.raises(FetchError):
        fetch(RAM_W600, tmp_path, yes, print)


def test_after_a_damaged_source_file_no_version_is_guessed(server, hub, tmp_path):
    fetch(RAM_W600, tmp_path, yes, print)
    (tmp_path / fetching.SOURCE_FILE).write_text("{")
    with pytest.raises(FetchError, match="is damaged"):
        fetch(RAM_W600, tmp_path, yes, print)


def test_the_command_fetches_checks_and_exits_1(server, nobody, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("RAHELPERS_DATA", str(tmp_path))

    def call(*arguments):
        return CliRunner().invoke(main, ["data", *arguments])

    refused = call("fetch", "ram-w600")
    assert (
        refused.exit_code == 1
        and "not accepted; nothing was downloaded; add --accept-licence" in refused.output
        and "cc-by-4.0" in refused.output
    )
    taken = call("fetch", "ram-w600", "--accept-licence")
    assert taken.exit_code == 0, taken.output
    assert re.search(r"ram-w600 +here ", call("list").output)
    (tmp_path / "ram-w600/BoneSegmentation/images/2.bmp").write_bytes(b"3")
    checked = call("check", "ram-w600")
    assert (
        checked.exit_code == 1
        and "fault: BoneSegmentation/images/2.bmp: is not the file that was fetched"
        in checked.output
    )
    monkeypatch.setenv("HF_ENDPOINT", nobody.address)
    offline = call("fetch", "ram-w600")
    assert (
        offline.exit_code == 1
        and nobody.address in offline.output
        and "Place the files in" in offline.output
    )
    assert call("fetch", "phantom").exit_code == 1 and call("fetch", "ram").exit_code == 2
