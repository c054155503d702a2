"""Config refuses what it does not know; artefacts are keyed, checked, and rebuilt when damaged."""

import ast
import json
from pathlib import Path

import pytest

from rahelpers.core.config import CONFIG_KEYS, RunConfig, config_from_notebook, make_config, save_config
from rahelpers.core.store import STEPS, MissingArtefact, Run, open_run


def test_unknown_key_names_the_near_match():
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        make_config(epoch=3)


@pytest.mark.parametrize(
    "values", [{"profile": "quik"}, {"source": "phantm"}, {"epochs": "many"}, {"epochs": 0}, {"seed": -1}, {"augment": "perhaps"},
               {"image_size": 31}, {"learning_rate": float("nan")}, {"epochs": 2.5}, {"source": "folder"}]
)  # fmt: skip
def test_bad_values_are_refused(values):
    with pytest.raises(ValueError):
        make_config(**values)


def test_text_becomes_the_declared_type_and_survives_a_round_trip():
    config = make_config(epochs="3", learning_rate="1e-4", augment="false")
    assert (config.epochs, config.learning_rate, config.augment) == (3, 1e-4, False)
    assert make_config(**json.loads(save_config(config))) == config


def test_notebook_literals():
    config = config_from_notebook({"PROFILE": "smoke", "SOURCE": "phantom", "SEED": 9, "RUN_DIR": "runs/x", "EPOCHS": 2, "run": 1, "In": []})
    assert (config.seed, config.epochs) == (9, 2)
    with pytest.raises(ValueError, match="unknown parameter 'epocs'"):
        config_from_notebook({"PROFILE": "smoke", "EPOCS": 2})


def test_pretrained_weights_choose_a_network_that_takes_them_and_fewer_passes():
    plain, pretrained = make_config(profile="quick"), make_config(profile="quick", weights="imagenet")
    assert (plain.architecture, pretrained.architecture) == ("vgg_small", "vgg16") and pretrained.epochs < plain.epochs
    assert make_config(profile="quick", weights="imagenet", epochs=99).epochs == 99


def test_every_value_is_documented():
    import dataclasses

    assert all(f.metadata["doc"] for f in dataclasses.fields(RunConfig)) and len(CONFIG_KEYS) > 30


def test_a_step_remade_with_other_content_makes_later_ones_again(tmp_path):
    """Same inputs, another file: a network trained again is another network, and its scores must not be the old one's."""
    run = Run(make_config(run_dir=str(tmp_path / "r")))
    for content, expected in (("one", False), ("two", False), ("two", True)):
        curated = run.step("curate", {})
        curated.write("a.txt", lambda p, c=content: p.write_text(c))
        curated.finish()
        trained = run.step("train", {})
        assert trained.is_done() is expected
        trained.finish()


def test_a_steps_key_covers_every_module_that_makes_it():
    """A changed line in any module that a step's code imports must make the step again: its own list, or that of a step it reads."""
    root = Path(__file__).resolve().parents[2] / "rahelpers"
    frame = {"artifacts", "config", "progress", "tensorflow_quiet"}  # how a run is kept and shown, not what comes out

    def imports(module: str) -> set[str]:
        files = sorted((root / module).glob("*.py")) if (root / module).is_dir() else [root / f"{module}.py"]
        nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
        return {node.module.split(".")[1] for node in nodes if node.module.startswith("rahelpers.")} - {module}

    for step, (_, needs, modules) in STEPS.items():
        covered = set(modules).union(*(STEPS[need][2] for need in needs)) | frame
        missing = {found for module in modules for found in imports(module)} - covered
        assert not missing, f"{step} is made by {missing} too"


def _step(run, setting=1):
    return run.step("curate", {"setting": setting})


def test_step_is_reused_rebuilt_and_named_when_damaged(tmp_path, capsys):
    run = Run(make_config(run_dir=str(tmp_path / "r")))
    with pytest.raises(MissingArtefact, match="01_curate_data"):
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
    with pytest.raises(MissingArtefact, match="holds no run"):
        open_run(tmp_path)
