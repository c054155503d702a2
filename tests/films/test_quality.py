"""Quality control: each check on a film made for it, and no finding on good films."""

import cv2
import numpy as np
import pytest

from rahelpers.films.normalisation import to_network_input
from rahelpers.films.quality import check_film, measure_surroundings
from rahelpers.films.radiograph import Provenance, Radiograph
from rahelpers.films.reading import read_radiograph
from rahelpers.phantom import make_patient, render


def findings(image: np.ndarray) -> dict[str, str]:
    """Check -> action of a film."""
    film = Radiograph(np.ascontiguousarray(image, np.float32))
    return {f.check: f.action for f in check_film(film, to_network_input(film, 96))}


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    patient = next(p for p in (make_patient(31, i) for i in range(40)) if not p.incidental)
    return render(patient, "L", 320, dose_ugy=2.5).image


def test_a_good_film_has_no_finding(good):
    assert findings(good) == {}


@pytest.mark.parametrize(
    ("spoil", "check", "action"),
    [
        (lambda f: f[::6, ::6], "size", "exclude"),
        (lambda f: np.round(f * 6) / 6, "grey levels", "exclude"),
        (lambda f: 1 - f, "inverted", "fix"),
        (lambda f: np.rot90(f), "turned", "fix"),
        (lambda f: np.rot90(f, 2), "turned", "fix"),
        (lambda f: np.random.default_rng(0).random(f.shape), "hand", "keep"),
        (lambda f: np.pad(f, 320), "hand", "keep"),
        (lambda f: np.clip(f * 2.5, 0, 1), "exposure", "keep"),
        (lambda f: f[90:], "cut off", "keep"),
    ],
)
def test_each_fault_is_named(good, spoil, check, action):
    assert findings(spoil(good)).get(check) == action


def test_a_washed_out_film_is_named(good):
    """A single bright spot takes the grey range; a tenth of it remains for hand and air."""
    film = good * 0.1
    film[5:8, 5:8] = 1
    assert findings(film).get("exposure") == "keep"


def burn_in(film: np.ndarray) -> np.ndarray:
    film = np.rint(film * 255).astype(np.uint8)
    cv2.putText(film, "DOE JANE 1971", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1, cv2.LINE_AA)
    return film / np.float32(255)


def test_a_name_burnt_into_a_film_is_named_and_lead_initials_are_not(good, real_films):
    assert findings(burn_in(good))["text"] == "keep"
    files = sorted((real_films / "images").glob("*.jpg"))[4::45]
    images = [read_radiograph(file).image for file in files]
    assert not [image for image in images if "text" in findings(image)]
    named = [findings(burn_in(image)).get("text") for image in images]
    assert named.count("keep") >= len(files) - 1


def test_shares_of_marker_and_border_are_those_that_were_drawn(good):
    """A white plate of 40 x 30 pixels, and a frame that makes 320 pixels 520."""

    def measure(image: np.ndarray) -> tuple[float, float]:
        film = Radiograph(image)
        return measure_surroundings(film, to_network_input(film, 96))

    film = good.copy()
    film[270:310, 4:34] = 1
    marker = measure(film)[0] - measure(good)[0]
    assert marker == pytest.approx(40 * 30 / 320**2, abs=0.004)
    framed = np.pad(film, 100)
    assert measure(framed)[1] == pytest.approx(1 - (320 / 520) ** 2, abs=0.05)
    assert findings(framed)["border"] == "keep"


def test_words_say_what_was_received_and_expected(good):
    film = Radiograph(np.ascontiguousarray(good[::6, ::6]))
    first = check_film(film, to_network_input(film, 96))[0]
    assert "54 x 54 pixels; expected at least 64" in first.words


def test_few_of_the_real_films_are_excluded_and_none_is_turned_or_inverted(real_films):
    """Fifty films that radiologists read: all usable, all upright, all bone bright."""
    for file in sorted((real_films / "images").glob("*.jpg"))[::18]:
        film = read_radiograph(file)
        actions = {f.check: f.action for f in check_film(film, to_network_input(film, 96))}
        assert not {"inverted", "turned"} & set(actions) and "exclude" not in actions.values(), (
            f"{file.name}: {actions}"
        )


@pytest.mark.parametrize(
    ("provenance", "check", "words"),
    [
        (Provenance(other_modality="ultrasound"), "modality", "comes from ultrasound"),
        (Provenance(coloured=0.31), "colour", "31% of the picture is coloured"),
    ],
)
def test_what_its_file_calls_something_else_is_left_out(good, provenance, check, words):
    film = Radiograph(np.float32(good), provenance=provenance)
    first = check_film(film, to_network_input(film, 96))[0]
    assert (first.check, first.action) == (check, "exclude") and words in first.words


def test_a_coloured_arrow_does_not_exclude_a_film(good):
    film = Radiograph(np.float32(good), provenance=Provenance(coloured=0.03))
    assert check_film(film, to_network_input(film, 96)) == []
