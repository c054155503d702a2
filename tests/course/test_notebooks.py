"""The notebooks keep to the house style, and what nbval compares is not empty."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted((PROJECT / "notebooks").glob("*.ipynb"))
NAMES = [
    "00_start_here",
    "01_curate_data",
    "02_train_vgg",
    "03_evaluate",
    "04_explain_gradcam",
    "05_explain_shap",
    "06_diagnosis_panel",
]


def test_all_lessons_are_there():
    assert [f.stem for f in FILES] == NAMES


@pytest.fixture(params=FILES, ids=lambda f: f.stem)
def book(request):
    return nbformat.read(request.param, as_version=4)


def code(book):
    return [c for c in book.cells if c.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_order_of_cells(book):
    first = book.cells[0].source
    for word in (
        "# ",
        "**Objectives.**",
        "**Prerequisites**",
        "**Time.**",
        "**Reads**",
        "**Writes**",
    ):
        assert word in first
    assert 1 <= len(re.findall(r"^- ", first, re.M)) <= 5
    assert "import" in book.cells[1].source and "parameters" in tags(book.cells[2])
    text = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    assert text.index("## Summary") < text.index("## Check yourself") < text.index("## Next")


def test_parameters_are_literals_only(book):
    for statement in ast.parse(book.cells[2].source).body:
        assert isinstance(statement, ast.Assign) and isinstance(
            ast.literal_eval(statement.value), (str, int, float, bool)
        )


def test_cells_are_small(book):
    lines = [len([s for s in c.source.splitlines() if s.strip()]) for c in code(book)]
    assert statistics.median(lines) <= 8 and max(lines) <= 25


def test_stored_outputs_are_whole(book):
    checked = [c for c in code(book) if "nbval-check-output" in tags(c)]
    assert len(checked) >= 3 and all(c.outputs for c in checked)
    assert [c.execution_count for c in code(book)] == list(range(1, len(code(book)) + 1))
    outputs = [o for c in code(book) for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for c in checked for o in c.outputs if o.get("name") == "stderr"]


def test_each_output_is_compared_or_left_out_on_purpose(book):
    """nbval compares what has no tag: a picture or a score is the same on one kind of processor
    alone.
    """
    for cell in code(book):
        decided = {"nbval-check-output", "nbval-ignore-output"} & set(tags(cell))
        assert len(decided) == 1 or not cell.outputs, cell.source
        is_picture = "image/png" in str(cell.outputs)
        assert not (is_picture and "nbval-check-output" in decided), cell.source


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_file_is_small_and_names_nobodys_home(file):
    text = file.read_text()
    assert len(text) < 1_000_000
    assert not re.search(r"/(root|home/\w+|Users/\w+|work)/", text)
    assert "iopub.status" not in text, (
        "run `make notebooks`: timestamps change at every execution and hide real changes in a diff"
    )
    assert all(
        re.search(r'alt=\\"[^"\\]{10,}', image) for image in re.findall(r"<img[^>]{0,400}", text)
    )


@pytest.mark.slow
def test_nbval_fails_when_a_stored_output_is_not_what_comes_out(tmp_path):
    """What CI relies on: a changed stored output is a failure, an equal one is not."""
    cell = nbformat.v4.new_code_cell(
        "print('films 80')", metadata={"tags": ["nbval-check-output"]}, execution_count=1
    )
    for name, stored in (("same", "films 80\n"), ("changed", "films 79\n")):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    results = {
        name: (
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "--nbval",
                    str(tmp_path / f"{name}.ipynb"),
                    "-p",
                    "no:cacheprovider",
                ],
                capture_output=True,
                cwd=tmp_path,
                check=False,
            ).returncode
        )
        for name in ("same", "changed")
    }
    assert results == {"same": 0, "changed": 1}
