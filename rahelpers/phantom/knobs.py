"""One phantom hand whose severity, grades, dose and pose are set by hand."""

from __future__ import annotations

import dataclasses

from rahelpers.films.sites import EROSION_SITES, JSN_SITES
from rahelpers.phantom.anatomy import Pose
from rahelpers.phantom.disease import draw_findings
from rahelpers.phantom.film import PhantomFilm, render
from rahelpers.phantom.patient import make_patient

SIZE = 384  # side of the film, pixels


def render_knobs(
    seed: int,
    index: int,
    severity: float,
    duration: float,
    site: str,
    grade: int,
    dose: float,
    visit: int = 0,
    spread: float = 1.35,
    tilt: float = 0.0,
    jsn: dict[str, int] | None = None,
) -> PhantomFilm:
    """Render the left hand of a phantom patient with RA, as the knobs are set.

    Parameters
    ----------
    seed, index : int
        Which patient of which cohort.
    severity : float
        0 to 1.
    duration : float
        Years since the onset of RA.
    site : str
        An erosion site of the SvdH score, set to `grade`.
    grade : int
        0 to 5.
    dose : float
        Air kerma at the detector, microgray.
    visit : int
        0 or 1: two years later, when RA has progressed.
    spread : float
        Of the fingers, as a multiple of the angles between the metacarpals.
    tilt : float
        Of the hand about its long axis, degrees.
    jsn : dict, optional
        Joint -> grade of narrowing, 0 to 4, in place of the grade that the disease reached.

    Returns
    -------
    PhantomFilm

    Raises
    ------
    ValueError
        If a site is not part of the score.

    Examples
    --------
    >>> from rahelpers.phantom import render_knobs
    >>> film = render_knobs(7, 0, severity=0.2, duration=3.0, site="Ulna", grade=5, dose=2.5)
    >>> int(film.joints.set_index("site").loc["Ulna", "erosion"])
    5
    """
    if site not in EROSION_SITES:
        raise ValueError(f"site={site!r}: expected one of {', '.join(EROSION_SITES)}")
    if unknown := set(jsn or {}) - set(JSN_SITES):
        raise ValueError(
            f"jsn={', '.join(sorted(unknown))}: expected some of {', '.join(JSN_SITES)}"
        )
    patient = dataclasses.replace(
        make_patient(seed, index), label=1, condition="RA", severity=severity, duration=duration
    )
    findings = draw_findings(patient, 0, visit)
    findings = dataclasses.replace(
        findings, erosion=findings.erosion | {site: grade}, jsn=findings.jsn | (jsn or {})
    )
    return render(patient, "L", SIZE, findings, visit, dose, Pose(spread=spread, tilt=tilt))
