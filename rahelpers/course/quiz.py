"""Small helpers for lessons: expected errors, comparisons within a tolerance, and questions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike


@contextlib.contextmanager
def expect_error(kind: type[Exception]) -> Iterator[None]:
    """Run a block that must fail with an error of type `kind`, and print the message.

    Raises
    ------
    RuntimeError
        If the block does not fail.

    Examples
    --------
    >>> from rahelpers import course
    >>> with course.expect_error(ValueError):
    ...     int("five")
    ValueError: invalid literal for int() with base 10: 'five'
    """
    try:
        yield
    except kind as error:
        print(f"{kind.__name__}: {error}")
    else:
        raise RuntimeError(f"expected a {kind.__name__}, but the block ran without an error")


def close(value: ArrayLike, expected: ArrayLike, tolerance: float) -> str:
    """Say whether every number is within `tolerance` of the expected one.

    Examples
    --------
    >>> from rahelpers import course
    >>> course.close([0.50, 0.75], [0.50, 0.76], tolerance=0.02)
    'ok'
    >>> course.close(0.81, 0.99, tolerance=0.02)
    'not ok: largest difference 0.18, expected at most 0.02'
    """
    difference = float(np.max(np.abs(np.asarray(value, float) - np.asarray(expected, float))))
    if difference <= tolerance:
        return "ok"
    return f"not ok: largest difference {difference:.3g}, expected at most {tolerance:.3g}"


def ask(answer: str, right: str, why_wrong: Mapping[str, str]) -> str:
    """Reply to a multiple-choice answer; every wrong answer has its own message.

    Parameters
    ----------
    answer : str
        The student's choice, for example 'b'.
    right : str
    why_wrong : mapping
        For each wrong choice, why it is wrong.

    Examples
    --------
    >>> from rahelpers import course
    >>> reasons = {"a": "No: a coin has an AUC of 0.5."}
    >>> course.ask("a", "b", reasons), course.ask("B", "b", reasons), course.ask("c", "b", reasons)
    ('No: a coin has an AUC of 0.5.', 'Right.', 'Choose one of a, b.')
    """
    choice = answer.strip().lower()
    if choice == right:
        return "Right."
    return why_wrong.get(choice, f"Choose one of {', '.join(sorted([right, *why_wrong]))}.")
