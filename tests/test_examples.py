"""The usage examples of the docstrings run, and every public function and class has one.

An example may use `run`: a finished run of 40 phantom patients (steps 01 and 02).
"""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import rahelpers

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(rahelpers.__path__, "rahelpers.")
    if not module.ispkg and not module.name.endswith("__main__")
)
PACKAGES = sorted(m.name for m in pkgutil.iter_modules(rahelpers.__path__, "rahelpers.") if m.ispkg)


def public_objects() -> dict[str, object]:
    """What the packages export, by its full name, without constants, modules and exceptions."""
    found = {}
    for package in ["rahelpers", *PACKAGES]:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            one = getattr(module, name)
            if inspect.isclass(one) and issubclass(one, Exception):
                continue
            is_code = inspect.isfunction(one) or inspect.isclass(one)
            if is_code and one.__module__.startswith("rahelpers"):
                found[f"{one.__module__}.{one.__qualname__}"] = one
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, request, capsys):
    module = importlib.import_module(name)
    tests = [t for t in doctest.DocTestFinder(exclude_empty=True).find(module) if t.examples]
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    reports: list[str] = []
    for test in tests:
        if any("run" in example.source for example in test.examples):
            test.globs["run"] = request.getfixturevalue("tiny_run")
        runner.run(test, out=reports.append)
    assert not runner.summarize(verbose=False).failed, "".join(reports)


def test_every_public_name_has_an_example():
    without = [name for name, one in public_objects().items() if ">>>" not in (one.__doc__ or "")]
    assert not without, f"{len(without)} without an example: {', '.join(sorted(without))}"
