"""Disease as a model of the patient: what each site of each hand has.

Distribution: wrist > MCP > PIP, DIP spared, peaks at MCP 2, MCP 3, PIP 3 and the ulnar styloid,
symmetric; erosions are larger in larger bones (clinical.md, "How RA shows"). Site weights, grade
probabilities and sizes by grade are assumptions. docs/phantom.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rahelpers.films.sites import JSN_SITES
from rahelpers.phantom.patient import Patient, random_for

# How often and how badly RA affects a site, 0 to 1, for the sites of rahelpers/films/sites.py.
EROSION_WEIGHTS = {
    "MCP1": 0.5, "MCP2": 0.95, "MCP3": 0.85, "MCP4": 0.5, "MCP5": 0.75,
    "PIP2": 0.45, "PIP3": 0.65, "PIP4": 0.4, "PIP5": 0.35, "IP1": 0.35, "CMC1": 0.4,
    "Trapezium": 0.5, "Scaphoid": 0.7, "Lunate": 0.75, "Radius": 0.75, "Ulna": 1.0,
}  # fmt: skip
JSN_WEIGHTS = {
    "MCP1": 0.4, "MCP2": 0.9, "MCP3": 0.85, "MCP4": 0.55, "MCP5": 0.55,
    "PIP2": 0.45, "PIP3": 0.6, "PIP4": 0.45, "PIP5": 0.4,
    "CMC3": 0.8, "CMC4": 0.75, "CMC5": 0.7, "STT": 0.75, "SC": 0.8, "SR": 0.95,
}  # fmt: skip
# The same for osteoarthritis, which spares the MCP joints and affects the DIP joints.
OA_WEIGHTS = {
    "DIP2": 0.9, "DIP3": 0.9, "DIP4": 0.7, "DIP5": 0.8,
    "PIP2": 0.5, "PIP3": 0.55, "PIP4": 0.4, "PIP5": 0.4, "CMC1": 0.9, "IP1": 0.5,
}  # fmt: skip
FINGER_JOINTS = ("DIP", "PIP", "IP")  # where osteoarthritis forms nodes and turns the bone beyond
# Joint-space width of RA patients as a Z-score, by JSN grade 0 to 3: mean and SD. Grade 4 is
# ankylosis: no space (Arthritis Res Ther ar4163, Table 1, index MCP; used at every site:
# assumption). The grades overlap, as they do in people.
SPACE_Z = ((0.46, 0.62), (-0.37, 0.83), (-0.70, 0.96), (-1.91, 1.57))
ANKYLOSIS = 4
TREATED = 0.5  # share of patients whose treatment works: assumption
QUIET = 0.3  # share of their synovitis that remains: assumption
QUIET_BELOW = 0.1  # severity below which synovitis is as quiet as under treatment: assumption
LEAST_SWELLING = 0.2  # less is within the normal variation of fingers: assumption
MCP = ("MCP2", "MCP3", "MCP4", "MCP5")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one hand has. `Findings()` is a hand without disease.

    Attributes
    ----------
    erosion, jsn : dict
        Site -> SvdH grade (0 to 5, 0 to 4); all sites in RA, narrowed sites in osteoarthritis.
    has_ra : bool
        Joint spaces follow SPACE_Z.
    narrowing : dict
        Joint -> share of its space lost to osteoarthritis.
    deviation : dict
        Joint -> degrees by which osteoarthritis turned the bone beyond it.
    osteophytes : tuple of str
        Joints with osteophytes and sclerosis (osteoarthritis).
    central : tuple of str
        Joints with a central erosion (osteoarthritis).
    osteopenia : float
        Share of bone lost near the joints (RA).
    thinning : float
        Share of bone lost everywhere (age osteopenia).
    swelling : dict
        Joint -> 0 to 1, fusiform soft-tissue swelling: synovitis in RA, nodes in osteoarthritis.
    subluxation : dict
        MCP joint -> mm by which the phalanx slipped to the ulnar side.
    drift : float
        Degrees by which the fingers turned to the ulnar side.
    collapse : float
        0 to 1, loss of carpal height.

    Examples
    --------
    >>> from rahelpers.phantom import Findings
    >>> Findings(jsn={"MCP2": 4}, has_ra=True).space("MCP2", mean=1.6, sd=0.25, z=0.0)
    0.0
    >>> Findings().space("MCP2", mean=1.6, sd=0.25, z=1.0)
    1.85
    """

    erosion: dict[str, int] = field(default_factory=dict)
    jsn: dict[str, int] = field(default_factory=dict)
    has_ra: bool = False
    narrowing: dict[str, float] = field(default_factory=dict)
    deviation: dict[str, float] = field(default_factory=dict)
    osteophytes: tuple[str, ...] = ()
    central: tuple[str, ...] = ()
    osteopenia: float = 0.0
    thinning: float = 0.0
    swelling: dict[str, float] = field(default_factory=dict)
    subluxation: dict[str, float] = field(default_factory=dict)
    drift: float = 0.0
    collapse: float = 0.0

    def space(self, joint: str, mean: float, sd: float, z: float) -> float:
        """Return the joint-space width, mm, never below 0.

        Parameters
        ----------
        joint : str
        mean, sd : float
            Of healthy people of this age and sex, mm.
        z : float
            How wide this person's space is by nature, in SDs. Disease shifts it; the person keeps
            their place within the group.
        """
        grade = self.jsn.get(joint, 0)
        if self.has_ra and grade == ANKYLOSIS:
            return 0.0
        if self.has_ra and joint in JSN_SITES:
            shift, spread = SPACE_Z[grade]
            return max(mean + sd * (shift + spread * z), 0.0)
        return max((mean + sd * z) * (1 - self.narrowing.get(joint, 0.0)), 0.0)


def draw_findings(patient: Patient, side: int, visit: int = 0) -> Findings:
    """Draw the findings of one hand; both hands share most of each site's tendency.

    Parameters
    ----------
    patient : Patient
    side : int
        0 left, 1 right.
    visit : int
        0 first visit, 1 second visit two years later: RA progresses, and no grade falls.

    Returns
    -------
    Findings

    Raises
    ------
    ValueError
        If the visit is neither 0 nor 1.

    Examples
    --------
    >>> from rahelpers import phantom
    >>> patient = next(p for p in (phantom.make_patient(7, i) for i in range(40)) if p.label)
    >>> first, second = (phantom.draw_findings(patient, side=0, visit=v) for v in (0, 1))
    >>> len(first.erosion), len(first.jsn)
    (16, 15)
    >>> all(second.erosion[site] >= grade for site, grade in first.erosion.items())
    True
    """
    if visit not in (0, 1):
        raise ValueError(f"visit={visit}: expected 0 or 1")
    shared, own = random_for(patient, 3), random_for(patient, 4, side)
    if patient.condition == "RA":
        return _draw_ra(_damage(patient, 2.0 * visit), patient.severity, shared, own)
    if patient.condition == "osteoarthritis":
        return _draw_oa(patient.severity, own)
    if patient.condition == "age osteopenia":
        return Findings(thinning=float(own.uniform(0.15, 0.4)))
    return Findings()


def _damage(patient: Patient, later: float) -> float:
    """Damage so far, 0 to 1: severity sets its pace, duration how long it has gone on.

    Half of the final damage comes within 5 years: assumption.
    """
    return patient.severity * (0.35 + 0.65 * (1 - 0.5 ** ((patient.duration + later) / 5.0)))


def _draw_ra(
    damage: float, severity: float, shared: np.random.Generator, own: np.random.Generator
) -> Findings:
    # bone and joint space: what the SvdH score grades
    erosion = {s: _grade(w, 5, damage, shared, own) for s, w in EROSION_WEIGHTS.items()}
    jsn = {s: _grade(w, 4, damage, shared, own) for s, w in JSN_WEIGHTS.items()}
    # synovitis is there from the first months, before bone shows it (clinical.md); how much:
    # assumption
    activity = float(np.clip(0.12 + 0.75 * severity + 0.2 * shared.normal(), 0, 1))
    if shared.random() < TREATED or severity < QUIET_BELOW:
        activity *= QUIET
    osteopenia = float(np.clip(0.34 * damage + 0.08 * shared.normal() - 0.02, 0, 0.5))
    amounts = {
        s: float(np.clip(activity * w + 0.2 * own.normal() - 0.1, 0, 1))
        for s, w in JSN_WEIGHTS.items()
        if s.startswith(("MCP", "PIP"))
    }
    swelling = {s: amount for s, amount in amounts.items() if amount > LEAST_SWELLING}
    # late RA: fingers drift, knuckles slip, the carpus collapses
    deformed = max(damage - 0.4, 0.0) / 0.6
    drift = float(max(deformed * (22 + 8 * own.normal()), 0.0))
    subluxation = {
        s: float(max(deformed * (2.5 + 1.5 * own.normal()), 0.0)) for s in MCP if jsn[s] >= 3
    }
    return Findings(
        erosion=erosion,
        jsn=jsn,
        has_ra=True,
        osteopenia=osteopenia,
        swelling=swelling,
        subluxation=subluxation,
        drift=drift,
        collapse=float(np.clip((jsn["SR"] + jsn["SC"] - 3) / 5, 0, 1)),
    )


def _draw_oa(severity: float, own: np.random.Generator) -> Findings:
    hit = tuple(s for s, w in OA_WEIGHTS.items() if own.random() < w * (0.3 + severity))
    narrowing = {s: float(own.uniform(0.15, 0.25 + 0.6 * severity)) for s in hit}
    # a reader who scores the film would grade these spaces too
    jsn = {s: 1 + int(x > 0.3) + int(x > 0.5) for s, x in narrowing.items() if s in JSN_SITES}
    fingers = [s for s in hit if s.startswith(FINGER_JOINTS)]
    central = tuple(s for s in fingers if own.random() < 0.35 * severity)
    deviation = {s: float(own.normal(0, 5 * severity)) for s in fingers}
    # Heberden's and Bouchard's nodes
    nodes = {s: float(own.uniform(0.0, 0.3 + 0.5 * severity)) for s in fingers}
    return Findings(
        jsn=jsn,
        narrowing=narrowing,
        osteophytes=hit,
        central=central,
        deviation=deviation,
        swelling=nodes,
    )


def _grade(
    weight: float, most: int, damage: float, shared: np.random.Generator, own: np.random.Generator
) -> int:
    """Draw a grade from a latent tendency; both hands share three quarters of its variance."""
    latent = np.sqrt(0.75) * shared.normal() + np.sqrt(0.25) * own.normal()
    return int(np.clip(np.round((3.9 * damage * weight + 0.7 * latent - 0.9) * most / 4), 0, most))


def count_features(findings: Findings) -> dict[str, float]:
    """Return a hand's true findings as numbers: the ceiling of any network.

    A classifier on these numbers reads every film perfectly.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    dict
        Name -> value: erosion score, JSN score, osteopenia, swelling, drift, collapse, osteophytes.

    Examples
    --------
    >>> from rahelpers.phantom import Findings, count_features
    >>> features = count_features(Findings(erosion={"MCP2": 3, "Ulna": 2}, drift=12.0))
    >>> features["erosion score"], features["JSN score"], features["drift"]
    (5.0, 0.0, 12.0)
    """
    return {
        "erosion score": float(sum(findings.erosion.values())),
        "JSN score": float(sum(findings.jsn.values())),
        "osteopenia": findings.osteopenia + findings.thinning,
        "swelling": float(sum(findings.swelling.values())),
        "drift": findings.drift,
        "collapse": findings.collapse,
        "osteophytes": float(len(findings.osteophytes)),
    }
