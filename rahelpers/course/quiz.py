"""Small helpers of the lessons: expected errors, comparisons within a tolerance, and questions that
explain a wrong answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np


@contextlib.contextmanager
def expect_error(kind: type[Exception]) -> Iterator[None]:
    """Run a block that must fail with `kind`; print the message.

    Raises
    ------
    RuntimeError
        If the block does not fail.
    """
    try:
        yield
    except kind as error:
        print(f"{kind.__name__}: {error}")
    else:
        raise RuntimeError(f"expected a {kind.__name__}, but nothing went wrong")


def close(value: object, expected: object, tolerance: float) -> str:
    """'ok' where every number lies within `tolerance` of what is expected; else what was received
    and expected.
    """
    difference = float(
        np.max(np.abs(np.asarray(value, dtype=float) - np.asarray(expected, dtype=float)))
    )
    return (
        "ok"
        if difference <= tolerance
        else f"not ok: largest difference {difference:.3g}, expected at most {tolerance:.3g}"
    )


def ask(answer: str, right: str, why_wrong: Mapping[str, str]) -> str:
    """The reply to a multiple-choice answer: every wrong answer gets its own message.

    Parameters
    ----------
    answer : str
        The student's choice, for example 'b'.
    right : str
    why_wrong : mapping
        For each wrong choice, why it is wrong.
    """
    choice = answer.strip().lower()
    if choice == right:
        return "Right."
    return why_wrong.get(choice, f"Choose one of {', '.join(sorted([right, *why_wrong]))}.")
