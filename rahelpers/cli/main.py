"""The command line. Importing it must not load TensorFlow, so that help is printed at once."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rahelpers import __version__
from rahelpers.cli.common import Commands, fail, find_folder, find_run
from rahelpers.cli.data import data
from rahelpers.cli.predict import predict
from rahelpers.core.config import PROFILES, SOURCES, RunConfig, make_config, project_root
from rahelpers.core.store import MissingArtefactError

# Values of the configuration that have an option of their own, next to `-p KEY=VALUE`.
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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rahelpers")
def main() -> None:
    """RA hand workbench: run the course, read its report, open the diagnosis panel.

    For education and research only.
    """


main.add_command(data)
main.add_command(predict)


def _config_options(default_name: str) -> Callable[[Any], Any]:
    """The options of a command that makes a configuration."""
    options = [
        click.option(
            "--profile", default="quick", show_default=True, help=f"sizes: {', '.join(PROFILES)}"
        ),
        click.option(
            "--source",
            default="phantom",
            show_default=True,
            help=f"where the films come from: {', '.join(SOURCES)}",
        ),
        click.option("--name", default="", help=f"name of the run; default: {default_name}"),
        click.option(
            "-p", "pairs", multiple=True, metavar="KEY=VALUE", help="set any configuration value"
        ),
    ]
    for key in SHORTHAND:
        words = RunConfig.model_fields[key].description
        options.append(click.option(f"--{key.replace('_', '-')}", key, default=None, help=words))

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _read_values(pairs: tuple[str, ...], shorthand: dict[str, str | None]) -> dict[str, Any]:
    """Configuration values of -p and the shorthand options, with absolute paths.

    Raises
    ------
    ValueError
        If a pair is not KEY=VALUE, or the key has an option of its own that must be used.
    """
    given: dict[str, Any] = {k: v for k, v in shorthand.items() if v is not None}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"-p {pair}: expected KEY=VALUE")
        if key in ("profile", "source", "run_dir"):
            raise ValueError(f"-p {key}: use --{'name' if key == 'run_dir' else key}")
        given[key] = value
    for key in PATHS:
        if given.get(key):
            given[key] = str(Path(given[key]).expanduser().resolve())
    if given.get("weights") not in (None, "imagenet", "none"):
        given["weights"] = str(Path(given["weights"]).expanduser().resolve())
    return given


def _run_folder(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"--name {name}: expected letters, digits, '-', '_' and '.'")
    return str(project_root() / "runs" / name)


@main.command()
@_config_options("PROFILE-SOURCE")
@click.option(
    "--from", "start", default="", help="run this notebook and all later ones again, such as 03"
)
def run(
    profile: str,
    source: str,
    name: str,
    pairs: tuple[str, ...],
    start: str,
    **shorthand: str | None,
) -> None:
    """Run the whole course; a run that was stopped resumes.

    Executed notebooks, results and the report are written into runs/NAME.
    """
    from rahelpers.course.notebooks import NotebookError, RunBusyError, check_run, run_course
    from rahelpers.course.report import write_report
    from rahelpers.data.sources.registry import describe_source

    begun = time.monotonic()
    name = name or f"{profile}-{source}"
    try:
        # whatever can be refused is refused before the first notebook runs
        given = _read_values(pairs, shorthand)
        place = {"profile": profile, "source": source, "run_dir": _run_folder(name)}
        config = make_config(**place | given)
        check_run(config)
        for note in describe_source(config):
            click.echo(note)
        # the notebooks get the values from the config, where numbers are no longer text
        typed = config.subset(*given, "architecture")
        finished = run_course(config, typed, project_root() / "notebooks", start)
    except ValueError as error:
        fail(error)
    except RunBusyError as error:
        fail(error, 1)
    except NotebookError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped; run the same command again to resume", err=True)
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


@main.command()
@click.argument("trained", metavar="RUN_OR_BUNDLE")
@_config_options("RUN-on-SOURCE")
def evaluate(
    trained: str,
    profile: str,
    source: str,
    name: str,
    pairs: tuple[str, ...],
    **shorthand: str | None,
) -> None:
    """Score a trained bundle on another cohort: the external test.

    The cohort is curated into the run NAME; nothing is trained.
    """
    from rahelpers.data.sources.registry import check_source, describe_source
    from rahelpers.evaluation.external import evaluate_elsewhere, find_bundle
    from rahelpers.network.bundle import read_info

    try:
        folder = find_folder(trained)
        bundle, _ = find_bundle(folder)
        place = {
            "profile": profile,
            "source": source,
            "run_dir": _run_folder(name or f"{folder.name}-on-{source}"),
            "image_size": read_info(bundle)["image_size"],
            # an external test does not use the splits of curation; equal ones need fewest patients
            "test_fraction": 0.3,
            "validation_fraction": 0.3,
        }
        config = make_config(**place | _read_values(pairs, shorthand))
        check_source(config)
        for note in describe_source(config):
            click.echo(note)
        click.echo(evaluate_elsewhere(folder, config))
    except MissingArtefactError as error:
        fail(error, 1)
    except ValueError as error:
        fail(error)


@main.command()
@click.argument("name", metavar="RUN")
def report(name: str) -> None:
    """Write a run's report: one HTML page that needs no other file."""
    from rahelpers.course.report import write_report

    try:
        click.echo(write_report(find_run(name)))
    except (MissingArtefactError, ValueError) as error:
        fail(error, 1)


@main.command()
@click.argument("name", metavar="[RUN]", default="")
@click.option(
    "--port",
    default=8866,
    show_default=True,
    type=click.IntRange(1024, 65535),
    help="port on 127.0.0.1",
)
@click.option("--browser/--no-browser", default=True, help="open a browser window")
@click.option(
    "--theme",
    default="dark",
    show_default=True,
    type=click.Choice(["dark", "light"]),
    help="colours at the start",
)
@click.option(
    "--base-url",
    default="/",
    show_default=True,
    help="path under which a reverse proxy serves the panel, such as /ra/",
)
def panel(name: str, port: int, browser: bool, theme: str, base_url: str) -> None:
    """Open the diagnosis panel of a run as a web app.

    Without RUN, the newest one is opened. The panel listens on 127.0.0.1 only.
    """
    from rahelpers.panel.serve import serve_panel

    try:
        sys.exit(serve_panel(find_run(name), port, browser, theme, base_url))
    except (MissingArtefactError, ValueError) as error:
        fail(error, 1)


@main.command()
def doctor() -> None:
    """Check this machine, and say how to fix what is wrong."""
    from rahelpers.cli.doctor import run_checks

    checks = run_checks()
    for check in checks:
        fix = f". To fix: {check.fix}" if check.fix else ""
        click.echo(f"{check.state:4} {check.name}: {check.found}{fix}")
    sys.exit(any(c.state == "FAIL" for c in checks))
