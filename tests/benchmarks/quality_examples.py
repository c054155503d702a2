"""An example picture of each quality check, made from phantom films: writes docs/quality.png.

.venv/bin/python tests/benchmarks/quality_examples.py
"""

from pathlib import Path

import cv2
import numpy as np

from rahelpers.display import html as plots
from rahelpers.films.normalisation import make_thumbnail, to_network_input
from rahelpers.films.quality import check_film, describe_two_hands
from rahelpers.films.radiograph import Radiograph
from rahelpers.films.two_hands import find_two_hands
from rahelpers.phantom import make_patient, render

PICTURE = 200  # pixels


def burn_in(film: np.ndarray) -> np.ndarray:
    """A film with a name in a corner."""
    film = np.rint(film * 255).astype(np.uint8)
    cv2.putText(film, "DOE JANE 1971", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    return film / np.float32(255)


def with_plate(film: np.ndarray) -> np.ndarray:
    """A film with a large bright plate in a corner."""
    film = film.copy()
    film[-90:-6, 4:64] = 1
    return film


def examples() -> dict[str, np.ndarray]:
    """Check -> a film that it finds."""
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
    """Title of an example: what the check does about it. An error where the check does not find it."""
    film = Radiograph(np.ascontiguousarray(image, np.float32))
    seen = to_network_input(film, 96)
    found = {f.check: f.action for f in check_film(film, seen)}
    if find_two_hands(film.image, seen.hand.mask):
        found["two hands"] = describe_two_hands("left", "L").action
    return f"{check}: {found[check]}"


if __name__ == "__main__":
    shown = examples()
    titles = [describe(check, image) for check, image in shown.items()]
    pictures = np.stack(
        [
            make_thumbnail(np.ascontiguousarray(image, np.float32), PICTURE)
            for image in shown.values()
        ]
    )
    figure = plots.plot_films(pictures, titles, "What each check finds (phantom)", columns=4)
    Path("docs/quality.png").write_bytes(plots.figure_png(figure))
