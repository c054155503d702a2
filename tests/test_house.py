"""The house: imports run down one list, packages only export, and tests mirror them."""

import ast
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "rahelpers"


def test_imports_run_down_the_road():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_package_holds_code_of_its_own():
    """Nothing but a docstring, the version and lazy exports in any `__init__.py`."""
    for file in PACKAGE.rglob("__init__.py"):
        body = ast.parse(file.read_text()).body
        allowed = (ast.Expr, ast.Import, ast.Assign)
        assert all(isinstance(node, allowed) for node in body), file
        assert not any(
            isinstance(n, ast.FunctionDef | ast.Lambda)
            for n in ast.walk(ast.parse(file.read_text()))
        ), file


def test_every_package_has_a_folder_of_tests():
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    tested = {p.parent.name for p in (PROJECT / "tests").glob("*/test_*.py")}
    untested = packages - tested
    assert untested <= {"display"}, f"no tests of {untested}"


def test_importing_the_package_starts_nothing_large():
    code = (
        "import rahelpers, sys; print(sorted({'tensorflow', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
