"""The helpers of the lessons say what is wrong with an answer."""

import numpy as np
import pytest

from rahelpers.course.quiz import ask, close, expect_error


def test_every_wrong_answer_has_its_own_message():
    reasons = {"a": "No: too small.", "b": "No: too large."}
    assert [ask(given, "c", reasons) for given in ("a", " B ", "C")] == [
        *reasons.values(),
        "Right.",
    ]
    assert ask("x", "c", reasons) == "Choose one of a, b, c."


def test_the_expected_error_is_printed_and_its_absence_is_an_error(capsys):
    with expect_error(ValueError):
        raise ValueError("received 3, expected 4")
    assert capsys.readouterr().out == "ValueError: received 3, expected 4\n"
    with pytest.raises(RuntimeError, match="expected a ValueError"), expect_error(ValueError):
        pass
    with pytest.raises(KeyError), expect_error(ValueError):
        raise KeyError("another error is let through")


def test_close_takes_the_largest_difference():
    assert close(np.eye(2), [[1, 0.01], [0, 1]], tolerance=0.02) == "ok"
    assert "0.3" in close([1, 2], [1, 2.3], tolerance=0.02)
