"""Artefacts are keyed, checked, and rebuilt when damaged."""

import ast
from pathlib import Path

import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import STEPS, MissingArtefactError, Run, open_run


def test_a_step_remade_with_other_content_makes_later_ones_again(tmp_path):
    """Same inputs, another file: a network trained again is another network, and its scores must
    not be the old one's.
    """
    run = Run(make_config(run_dir=str(tmp_path / "r")))
    for content, expected in (("one", False), ("two", False), ("two", True)):
        curated = run.step("curate", {})
        curated.write("a.txt", lambda p, c=content: p.write_text(c))
        curated.finish()
        trained = run.step("train", {})
        assert trained.is_done() is expected
        trained.finish()


def test_a_steps_key_covers_every_module_that_makes_it():
    """A changed line in any module that a step's code imports must make the step again: its own
    list, or that of a step it reads.
    """
    root = Path(__file__).resolve().parents[2] / "rahelpers"
    frame = {
        "artifacts",
        "config",
        "progress",
        "tensorflow_quiet",
    }  # how a run is kept and shown, not what comes out

    def imports(module: str) -> set[str]:
        files = (
            sorted((root / module).glob("*.py"))
            if (root / module).is_dir()
            else [root / f"{module}.py"]
        )
        nodes = [
            node
            for file in files
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        ]
        return {
            node.module.split(".")[1] for node in nodes if node.module.startswith("rahelpers.")
        } - {module}

    for step, (_, needs, modules) in STEPS.items():
        covered = set(modules).union(*(STEPS[need][2] for need in needs)) | frame
        missing = {found for module in modules for found in imports(module)} - covered
        assert not missing, f"{step} is made by {missing} too"


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
    assert not _step(run, setting=2).is_done() and "other config" in capsys.readouterr().out
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
