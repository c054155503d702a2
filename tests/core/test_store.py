"""Artefacts are keyed, checked, and rebuilt when damaged."""

import ast
import os
from pathlib import Path

import numpy as np
import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import (
    STEPS,
    MissingArtefactError,
    Run,
    open_run,
    read_arrays,
    write_atomically,
)


def test_a_step_rebuilt_with_other_content_rebuilds_later_ones(tmp_path):
    """Same inputs, different file: a network trained again must not keep the old scores."""
    run = Run(make_config(run_dir=str(tmp_path / "r")))
    for content, expected in (("one", False), ("two", False), ("two", True)):
        curated = run.step("curate", {})
        curated.write("a.txt", lambda p, c=content: p.write_text(c))
        curated.finish()
        trained = run.step("train", {})
        assert trained.is_done() is expected
        trained.finish()


def test_a_steps_key_covers_every_package_that_makes_it():
    """A changed line in any package that a step's code imports must rebuild the step.

    The package is in the step's own list, or in that of a step it reads.
    """
    root = Path(__file__).resolve().parents[2] / "rahelpers"
    # these say how a run is stored and shown, not what comes out
    frame = {"core", "display"}
    # curation only quotes one number of the scores, FEW_FILMS, in its warnings
    excused = {("curate", "scores")}
    for step, plan in STEPS.items():
        covered = set(plan.packages).union(*(STEPS[need].packages for need in plan.needs)) | frame
        for package in plan.packages:
            files = [f for f in (root / package).rglob("*.py") if f.name != "figures.py"]
            imported = {
                node.module.split(".")[1]
                for file in files
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rahelpers.")
            }
            missing = {p for p in imported - covered - {package} if (step, p) not in excused}
            assert not missing, f"{step} also depends on {missing}, through {package}"


def test_a_figure_changes_no_key_and_a_nested_module_does(tmp_path, monkeypatch):
    from rahelpers.core import store

    package = tmp_path / "rahelpers" / "films"
    package.mkdir(parents=True)
    (package / "inner").mkdir()
    monkeypatch.setattr(store, "__file__", str(tmp_path / "rahelpers" / "core" / "store.py"))

    def hash_now() -> str:
        store.code_hash.cache_clear()
        return store.code_hash(("films",))

    for name in ("figures.py", "a.py", "inner/b.py"):
        (package / name).write_text("one")
    first = hash_now()
    (package / "figures.py").write_text("two")
    assert hash_now() == first
    (package / "inner" / "b.py").write_text("two")
    assert hash_now() != first
    store.code_hash.cache_clear()


def _step(run, setting=1):
    return run.step("curate", {"setting": setting})


def test_step_is_reused_rebuilt_and_named_when_damaged(tmp_path, capsys):
    run = Run(make_config(run_dir=str(tmp_path / "r")))
    with pytest.raises(MissingArtefactError, match="01_curate_data"):
        run.file("curate", "a.txt")
    step = _step(run)
    assert not step.is_done()
    step.write("a.txt", lambda p: p.write_text("one"))
    step.finish()
    assert _step(run).is_done() and "reused" in capsys.readouterr().out
    assert not _step(run, setting=2).is_done() and "config changed" in capsys.readouterr().out
    (tmp_path / "r" / "01_curate" / "a.txt").write_text("two")
    assert not _step(run).is_done()
    assert "01_curate/a.txt is damaged" in capsys.readouterr().out


def test_a_failed_write_leaves_the_old_file(tmp_path):
    step = _step(Run(make_config(run_dir=str(tmp_path / "r"))))
    step.write("a.txt", lambda p: p.write_text("old"))

    def half(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        step.write("a.txt", half)
    assert (step.folder / "a.txt").read_text() == "old" and len(list(step.folder.iterdir())) == 1


def test_open_run_says_what_is_missing(tmp_path):
    with pytest.raises(MissingArtefactError, match="holds no run"):
        open_run(tmp_path)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask_and_need_no_chmod(tmp_path, monkeypatch, umask, mode):
    def no_chmod(*_, **__):
        raise PermissionError(1, "Operation not permitted")  # CIFS, NTFS

    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, no_chmod)
    before = os.umask(umask)
    try:
        for _ in range(2):  # a new file, and one that is there
            write_atomically(tmp_path / "a.npz", lambda p: np.savez(p, a=1))
            assert (tmp_path / "a.npz").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_refused_write_names_the_file_that_was_meant(tmp_path):
    def refuse(path):
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a.txt", refuse)
    assert caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "not a zip"])
def test_a_damaged_file_of_a_stopped_run_is_named_and_made_again(tmp_path, capsys, damage):
    file = tmp_path / "a.npz"
    assert read_arrays(file) is None and not capsys.readouterr().out
    np.savez(file, grey=np.arange(1000))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    broken = {"empty": b"", "cut": content[:-40], "flipped": content, "not a zip": b"x" * 99}
    file.write_bytes(broken[damage])
    assert read_arrays(file) is None and "a.npz is damaged" in capsys.readouterr().out
