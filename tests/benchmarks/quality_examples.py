"""One example picture of each quality check, from phantom films: writes docs/quality.png.

.venv/bin/python -m tests.benchmarks.quality_examples
"""

import click
import cv2
import numpy as np

from rahelpers.core.config import project_root
from rahelpers.display.figures import plot_films
from rahelpers.display.html import figure_png
from rahelpers.films.normalisation import make_thumbnail, to_network_input
from rahelpers.films.quality import check_film, describe_two_hands
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.two_hands import find_two_hands
from rahelpers.phantom import make_patient, render

PICTURE = 200  # pixels


def burn_in(film: np.ndarray) -> np.ndarray:
    """Write a name into a corner of a film."""
    film = np.rint(film * 255).astype(np.uint8)
    cv2.putText(film, "DOE JANE 1971", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    return film / np.float32(255)


def with_plate(film: np.ndarray) -> np.ndarray:
    """Put a large bright plate into a corner of a film."""
    film = film.copy()
    film[-90:-6, 4:64] = 1
    return film


def examples() -> dict[str, np.ndarray]:
    """Make a film for each check that it finds."""
    patient = next(p for p in (make_patient(31, i) for i in range(40)) if not p.incidental)
    film = render(patient, "L", 320, dose_ugy=2.5).image
    return {
        "size": film[::6, ::6],
        "grey levels": np.round(film * 6) / 6,
        "inverted": 1 - film,
        "turned": np.rot90(film, 2),
        "hand": np.random.default_rng(0).random(film.shape),
        "exposure": np.clip(film * 2.5, 0, 1),
        "cut off": film[90:],
        "border": np.pad(film, 100),
        "marker": with_plate(film),
        "text": burn_in(film),
        "two hands": np.hstack([film, render(patient, "R", 320, dose_ugy=2.5).image]),
    }


def describe(check: str, image: np.ndarray) -> str:
    """Title an example by what the check does about it; an error if the check does not find it."""
    film = Radiograph(np.ascontiguousarray(image, np.float32))
    seen = to_network_input(film, 96)
    found = {f.check: f.action for f in check_film(film, seen)}
    if find_two_hands(film.image, seen.hand.mask):
        found["two hands"] = describe_two_hands("left", "L").action
    return f"{check}: {found[check]}"


@click.command(help=__doc__)
def main() -> None:
    shown = examples()
    titles = [describe(check, image) for check, image in shown.items()]
    films = [np.ascontiguousarray(image, np.float32) for image in shown.values()]
    pictures = np.stack([make_thumbnail(film, PICTURE) for film in films])
    figure = plot_films(pictures, titles, "What each check finds (phantom)", columns=4)
    (project_root() / "docs" / "quality.png").write_bytes(figure_png(figure))


if __name__ == "__main__":
    main()
