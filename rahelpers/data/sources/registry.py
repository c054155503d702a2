"""Sources: each lists its films; a film is read one at a time. One module a source, with
`list_films(config)` and `fingerprint(config)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.film import SourceItem


class SourceFilm(Protocol):
    """A film that a source names, not yet read."""

    row: dict

    def content_key(self) -> str:
        """What the film is made from: the same key, the same film."""

    def read(self) -> SourceItem:
        """The film, or the fault that keeps it from being one."""


def _module(config: RunConfig):  # noqa: ANN202
    return import_module(f"rahelpers.data.sources.{config.source.replace('-', '_')}")


def list_films(config: RunConfig) -> list[SourceFilm]:
    """Films of the configured source, in a fixed order."""
    return _module(config).list_films(config)


def source_fingerprint(config: RunConfig) -> dict[str, str]:
    """Hashes of what a source reads from disk, so that a changed film or table makes curation
    again.
    """
    return _module(config).fingerprint(config)


def check_source(config: RunConfig) -> None:
    """Refuse what can be refused before anything runs: missing folders and tables, unknown columns,
    rules that make one class, an unknown hospital.

    Raises
    ------
    ValueError
    """
    if config.source == "phantom" and not config.external_centre:
        return
    centres = {film.row.get("centre", "") for film in list_films(config)} - {""}
    if config.external_centre and config.external_centre not in centres:
        known = (
            f"hospitals of this source: {', '.join(sorted(centres))}"
            if centres
            else "no film has a hospital; name its column with --centre-column"
        )
        raise ValueError(f"external_centre={config.external_centre!r} has no film; {known}")
