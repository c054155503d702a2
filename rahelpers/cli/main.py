"""The command line. Nothing here starts TensorFlow."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import click

from rahelpers import __version__
from rahelpers.cli.data import data
from rahelpers.cli.predict import predict
from rahelpers.core.config import (
    CONFIG_KEYS,
    PROFILES,
    SOURCES,
    make_config,
    near_match,
    project_root,
)
from rahelpers.core.store import MissingArtefactError, Run, open_run

# Options of `run` that are shorthand for a configuration value.
SHORTHAND = (
    "images",
    "table",
    "id_column",
    "file_column",
    "patient_column",
    "label_column",
    "positive",
    "laterality_column",
    "age_column",
    "sex_column",
    "centre_column",
    "external_centre",
    "dask",
    "boxes",
    "task",
    "architecture",
    "weights",
)
PATHS = ("images", "table", "boxes")
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def _fail(message: object, code: int = 2) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rahelpers")
def main() -> None:
    """RA hand workbench: run the course, read its report, open the diagnosis panel. For education
    and research only.
    """


main.add_command(data)
main.add_command(predict)


def _shorthand_options(command: Any) -> Any:
    for key in reversed(SHORTHAND):
        command = click.option(
            f"--{key.replace('_', '-')}", key, default=None, help=f"same as -p {key}=…"
        )(command)
    return command


def _given_values(pairs: tuple[str, ...], shorthand: dict[str, str | None]) -> dict[str, Any]:
    """Configuration values of -p and the shorthand options, paths made absolute.

    Raises
    ------
    ValueError
        For a pair that is none, or a key that is not known or has an option of its own.
    """
    given: dict[str, Any] = {k: v for k, v in shorthand.items() if v is not None}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"-p {pair}: expected KEY=VALUE")
        if key in ("profile", "source", "run_dir"):
            raise ValueError(f"-p {key}: use --{'name' if key == 'run_dir' else key}")
        if key not in CONFIG_KEYS:
            raise ValueError(f"unknown parameter '{key}'{near_match(key, CONFIG_KEYS)}")
        given[key] = value
    for key in PATHS:
        if given.get(key):
            given[key] = str(Path(given[key]).expanduser().resolve())
    if given.get("weights") not in (None, "imagenet", "none"):
        given["weights"] = str(Path(given["weights"]).expanduser().resolve())
    return given


@main.command()
@click.option("--profile", default="quick", show_default=True, help="sizes: " + ", ".join(PROFILES))
@click.option(
    "--source",
    default="phantom",
    show_default=True,
    help="where films come from: " + ", ".join(SOURCES),
)
@click.option(
    "--from", "start", default="", help="make this notebook and all later ones again, e.g. 03"
)
@click.option("--name", default="", help="name of the run; default: PROFILE-SOURCE")
@click.option("-p", "pairs", multiple=True, metavar="KEY=VALUE", help="set any configuration value")
@_shorthand_options
def run(
    profile: str,
    source: str,
    start: str,
    name: str,
    pairs: tuple[str, ...],
    **shorthand: str | None,
) -> None:
    """Run the whole course end to end into runs/NAME; a run that was stopped continues."""
    from rahelpers.course.notebooks import NotebookError, RunBusyError, run_course
    from rahelpers.course.report import write_report
    from rahelpers.data.sources.registry import check_source

    begun = time.monotonic()
    try:
        given = _given_values(pairs, shorthand)
        name = name or f"{profile}-{source}"
        if not NAME.fullmatch(name):
            raise ValueError(f"--name {name}: expected letters, digits, '-', '_' and '.'")
        config = make_config(
            **{"profile": profile, "source": source, "run_dir": str(project_root() / "runs" / name)}
            | given
        )
        if config.weights not in ("imagenet", "none") and not Path(config.weights).is_file():
            raise ValueError(f"weights={config.weights}: there is no such file")
        check_source(config)
        # values as the config typed them, so that the notebooks get numbers, not text
        typed = {k: getattr(config, k) for k in given}
        finished = run_course(
            config,
            typed | {"architecture": config.architecture},
            project_root() / "notebooks",
            start,
        )
    except ValueError as error:
        _fail(error)
    except RunBusyError as error:
        _fail(error, 1)
    except NotebookError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on from here", err=True)
        sys.exit(130)
    report_file = write_report(finished)
    click.echo(
        f"\nRun '{name}' finished in {time.monotonic() - begun:.0f} s. {finished.config.title}."
        " Education and research only."
    )
    click.echo(f"  report     {report_file}")
    click.echo(f"  notebooks  {finished.folder / 'notebooks'}")
    click.echo(f"  bundle     {finished.folder / '02_train' / 'bundle'}")
    click.echo(f"  panel      {Path(sys.executable).parent / 'rahelpers'} panel {name}")


def find_run(name: str) -> Run:
    """The run of that name or folder; the newest one with a bundle where no name is given."""
    root = project_root() / "runs"
    known = sorted(
        (p.parent for p in root.glob("*/config.json")),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    )
    if not name:
        whole = [p for p in known if (p / "02_train" / "record.json").exists()]
        if not whole:
            raise MissingArtefactError(
                f"{root} holds no finished run; make one with: rahelpers run"
            )
        return open_run(whole[0])
    for folder in (root / name, Path(name)):
        if (folder / "config.json").exists():
            return open_run(folder)
    raise MissingArtefactError(
        "there is no run"
        f" '{name}'{near_match(name, [p.name for p in known]) if known else '; make one with: rahelpers run'}"
    )


@main.command()
@click.argument("trained", metavar="RUN_OR_BUNDLE")
@click.option("--profile", default="quick", show_default=True, help="sizes: " + ", ".join(PROFILES))
@click.option(
    "--source",
    default="phantom",
    show_default=True,
    help="where films come from: " + ", ".join(SOURCES),
)
@click.option(
    "--name",
    default="",
    help="name of the run that the cohort is curated into; default: RUN-on-SOURCE",
)
@click.option("-p", "pairs", multiple=True, metavar="KEY=VALUE", help="set any configuration value")
@_shorthand_options
def evaluate(
    trained: str,
    profile: str,
    source: str,
    name: str,
    pairs: tuple[str, ...],
    **shorthand: str | None,
) -> None:
    """Score a trained bundle on another cohort (external test); nothing is trained."""
    from rahelpers.data.sources.registry import check_source
    from rahelpers.evaluation.external import evaluate_elsewhere, find_bundle
    from rahelpers.network.bundle import read_info

    try:
        path = next(
            (p for p in (project_root() / "runs" / trained, Path(trained)) if p.exists()),
            Path(trained),
        ).resolve()
        bundle, _ = find_bundle(path)
        given = _given_values(pairs, shorthand)
        size = read_info(bundle)["image_size"]
        name = name or f"{path.name}-on-{source}"
        if not NAME.fullmatch(name):
            raise ValueError(f"--name {name}: expected letters, digits, '-', '_' and '.'")
        # curation shares the films out, which an external test does not use: even shares need the
        # fewest patients
        fixed = {
            "profile": profile,
            "source": source,
            "run_dir": str(project_root() / "runs" / name),
            "test_fraction": 0.3,
            "validation_fraction": 0.3,
        }
        config = make_config(**fixed | {"image_size": size} | given)
        check_source(config)
        click.echo(evaluate_elsewhere(path, config))
    except (MissingArtefactError, ValueError) as error:
        _fail(error, 1 if isinstance(error, MissingArtefactError) else 2)


@main.command()
@click.argument("name", metavar="RUN")
def report(name: str) -> None:
    """Write the run's report: one HTML page that needs no other file."""
    from rahelpers.course.report import write_report

    try:
        click.echo(write_report(find_run(name)))
    except (MissingArtefactError, ValueError) as error:
        _fail(error, 1)


@main.command()
@click.argument("name", metavar="[RUN]", default="")
@click.option("--port", default=8866, show_default=True, type=click.IntRange(1024, 65535))
@click.option("--browser/--no-browser", default=True, help="open a browser window")
@click.option(
    "--theme",
    default="dark",
    show_default=True,
    type=click.Choice(["dark", "light"]),
    help="what is shown first",
)
@click.option(
    "--base-url",
    default="/",
    show_default=True,
    help="path below which a reverse proxy serves the panel, such as /ra/",
)
def panel(name: str, port: int, browser: bool, theme: str, base_url: str) -> None:
    """Open the diagnosis panel of RUN (default: the newest) as a web app, on 127.0.0.1 only."""
    from rahelpers.panel.serve import serve_panel

    try:
        sys.exit(serve_panel(find_run(name), port, browser, theme, base_url))
    except (MissingArtefactError, ValueError) as error:
        _fail(error, 1)


@main.command()
def doctor() -> None:
    """Check this machine, and say how to mend what is wrong."""
    from rahelpers.cli.doctor import run_checks

    checks = run_checks()
    for check in checks:
        click.echo(
            f"{check.state:4} {check.name}: {check.found}"
            + (f". To mend: {check.mend}" if check.mend else "")
        )
    sys.exit(any(c.state == "FAIL" for c in checks))
