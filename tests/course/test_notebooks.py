"""The notebooks follow the house style, and what nbval compares is not empty."""

import ast
import importlib
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted((PROJECT / "notebooks").glob("*.ipynb"))
PUBLIC_MODULES = {"rahelpers"} | {
    f"rahelpers.{face.parent.name}" for face in PROJECT.glob("rahelpers/*/__init__.pyi")
}
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
    parts = ("Objectives.", "Prerequisites", "Time.", "Reads", "Writes")
    assert first.startswith("# ") and all(f"**{part}**" in first for part in parts)
    assert 1 <= len(re.findall(r"^- ", first, re.M)) <= 5
    assert "import" in book.cells[1].source and "parameters" in tags(book.cells[2])
    text = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
    assert text.index("## Summary") < text.index("## Check yourself") < text.index("## Next")


def test_parameters_are_literals_only(book):
    for statement in ast.parse(book.cells[2].source).body:
        assert isinstance(statement, ast.Assign) and isinstance(
            ast.literal_eval(statement.value), (str, int, float, bool)
        )


def list_own_imports(book):
    """(module, name) of everything that a notebook imports from this package."""
    found = []
    for cell in code(book):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "rahelpers":
                found += [(node.module, alias.name) for alias in node.names]
            if isinstance(node, ast.Import):
                own = [a.name for a in node.names if a.name.split(".")[0] == "rahelpers"]
                found += [(name, "") for name in own]
    return found


def test_imports_at_most_eight_public_names(book):
    """A student meets few names at once, and only those of the package or of one of its steps."""
    found = list_own_imports(book)
    assert 1 <= len(found) <= 8, found
    for module, name in found:
        assert module in PUBLIC_MODULES, f"{module} is a module inside a package"
        assert name in importlib.import_module(module).__all__, f"{module} does not export {name}"


def test_a_module_inside_a_package_is_found():
    sources = ("from rahelpers.scores.intervals import auc_interval", "import rahelpers.scores")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    assert list_own_imports(nbformat.v4.new_notebook(cells=cells)) == [
        ("rahelpers.scores.intervals", "auc_interval"),
        ("rahelpers.scores", ""),
    ]
    assert "rahelpers.scores" in PUBLIC_MODULES
    assert "rahelpers.scores.intervals" not in PUBLIC_MODULES


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
    """nbval compares what has no tag, but pictures and scores differ between processors."""
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
        "run `make notebooks`: timestamps change with every execution and hide real changes"
    )
    assert all(
        re.search(r'alt=\\"[^"\\]{10,}', image) for image in re.findall(r"<img[^>]{0,400}", text)
    )


@pytest.mark.slow
def test_nbval_fails_when_a_stored_output_is_not_what_comes_out(tmp_path):
    """CI relies on this: a stored output that changed is a failure, an equal one is not."""
    cell = nbformat.v4.new_code_cell(
        "print('films 80')", metadata={"tags": ["nbval-check-output"]}, execution_count=1
    )
    for name, stored in (("same", "films 80\n"), ("changed", "films 79\n")):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored)]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    results = {}
    for name in ("same", "changed"):
        done = subprocess.run(
            [*command, str(tmp_path / f"{name}.ipynb")],
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
        results[name] = done.returncode
    assert results == {"same": 0, "changed": 1}
