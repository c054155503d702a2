"""The phantom: a hand radiograph whose every lesion is known. Rooms: anatomy, disease, projection, film."""

from rahelpers.phantom.anatomy import Patient
from rahelpers.phantom.disease import Findings, draw_findings, make_patient
from rahelpers.phantom.film import Film, iter_cohort, render

__all__ = ["Film", "Findings", "Patient", "draw_findings", "iter_cohort", "make_patient", "render"]
