"""One phantom hand as the knobs say: severity, one site, dose and pose."""

from __future__ import annotations

import dataclasses

from rahelpers.films.sites import EROSION_SITES, JSN_SITES
from rahelpers.phantom import PhantomFilm, Pose, draw_findings, make_patient, render

SIZE = 384


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
    """The left hand of a phantom patient with RA as the knobs say.

    Parameters
    ----------
    seed, index : int
        Which patient of which cohort.
    severity : float
        0 to 1.
    duration : float
        Years since RA began.
    site : str
        An erosion site of the SvdH score, set to `grade`.
    grade : int
        0 to 5.
    dose : float
        Air kerma at the detector, microgray.
    visit : int
        0 or 1: two years later, when RA has gone on.
    spread : float
        Of the fingers, as a multiple of the angles between the metacarpals.
    tilt : float
        Of the hand about its long axis, degrees.
    jsn : dict, optional
        Joint -> its grade of narrowing, 0 to 4, in place of what the disease did.

    Raises
    ------
    ValueError
        If a site is not one of the score.
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
