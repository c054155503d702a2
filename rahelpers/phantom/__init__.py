"""The phantom: a hand radiograph whose every lesion is known. Rooms: patient, disease, anatomy,
projection, film, dicom.
"""

from rahelpers.phantom.anatomy import Pose
from rahelpers.phantom.dicom import make_dicom
from rahelpers.phantom.disease import Findings, count_features, draw_findings
from rahelpers.phantom.film import PhantomFilm, iter_cohort, render
from rahelpers.phantom.patient import COHORT_SHA256, SPECTRA, Patient, make_patient

__all__ = [
    "COHORT_SHA256",
    "SPECTRA",
    "PhantomFilm",
    "Findings",
    "Patient",
    "Pose",
    "count_features",
    "draw_findings",
    "iter_cohort",
    "make_dicom",
    "make_patient",
    "render",
]
