"""pyproject.toml, requirements.lock, environment.yml and the installed packages agree."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
LOCK = (PROJECT / "requirements.lock").read_text()
LINES = re.findall(r"^([A-Za-z0-9_.-]+(?:\[[^]]*\])?==[^\\\n]+?) *\\$", LOCK, re.M)
# a package has several where Python versions need different ones
PINS = [Requirement(line) for line in LINES]
DIRECT = [
    Requirement(r)
    for r in [*PYPROJECT["dependencies"], *sum(PYPROJECT["optional-dependencies"].values(), [])]
]


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_direct_dependency_is_bounded_pinned_and_installed(requirement):
    assert requirement.specifier, "every direct dependency has bounds"
    pins = [p for p in PINS if canonicalize_name(p.name) == canonicalize_name(requirement.name)]
    assert pins and all(
        requirement.specifier.contains(str(p.specifier).removeprefix("==")) for p in pins
    )
    here = [p for p in pins if p.marker is None or p.marker.evaluate()]
    if requirement.marker is None or requirement.marker.evaluate():
        assert [str(p.specifier) for p in here] == [f"=={metadata.version(requirement.name)}"]


def test_every_pin_has_a_hash():
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", LOCK, flags=re.M).strip())
    assert len(blocks) == len(PINS) > 100
    assert all("--hash=sha256:" in block for block in blocks)


def test_environment_yml_uses_the_lock_and_a_supported_python():
    text = (PROJECT / "environment.yml").read_text()
    assert "- -r requirements.lock" in text
    python = re.search(r"python=(\S+)", text)[1]
    assert SpecifierSet(PYPROJECT["requires-python"]).contains(f"{python}.0")


def test_every_dependency_says_why_it_is_here():
    section = (
        (PROJECT / "pyproject.toml")
        .read_text()
        .split("dependencies = [", 1)[1]
        .split("[project.scripts]")[0]
    )
    lines = [line for line in section.splitlines() if line.strip().startswith('"')]
    assert len(lines) == len(DIRECT) and all("#" in line for line in lines)
