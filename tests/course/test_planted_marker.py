"""The exercise of notebook 05: a network that learned from a letter."""

import numpy as np
import pytest

from rahelpers.course.planted_marker import LETTER, PLACES, stamp, train_suspect
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.network.vgg import gradcam_layer


@pytest.mark.parametrize("place", PLACES)
def test_a_letter_is_in_its_corner_and_nowhere_else(place):
    bare = np.full((96, 96), 10, np.uint8)
    changed = stamp(bare, place) != bare
    upper, left = "upper" in place, "left" in place
    quarter = changed[:48] if upper else changed[48:]
    quarter = quarter[:, :48] if left else quarter[:, 48:]
    assert quarter.sum() == changed.sum() > 0.2 * (LETTER * 96) ** 2


@pytest.mark.slow
def test_the_tools_find_what_the_network_learned(tiny_run):
    suspect = train_suspect(load_cohort(tiny_run), tiny_run.config)
    assert suspect.score(suspect.films) > 0.95 and suspect.score(suspect.bare) < 0.8
    has_letter = (suspect.films != suspect.bare).any(axis=(1, 2))
    assert has_letter.tolist() == (suspect.labels == 1).tolist()
    found = compute_gradcam(
        suspect.model, suspect.films[suspect.labels == 1], gradcam_layer(suspect.model)
    )
    heat = found.maps.mean(axis=0)
    row, column = divmod(int(heat.reshape(2, 48, 2, 48).sum(axis=(1, 3)).argmax()), 2)
    hottest = f"{('upper', 'lower')[row]} {('left', 'right')[column]}"
    assert suspect.mark(hottest) == "right" == suspect.mark(f" {hottest.upper()} ")
    wrong = next(place for place in PLACES if place != hottest)
    assert suspect.mark(wrong).startswith(f"not {wrong}: ")
    corners = "upper left, upper right, lower left, lower right"
    assert suspect.mark("middle") == f"'middle' is not a corner: name one of {corners}"
