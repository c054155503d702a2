from . import figures as figures
from .cohort import Cohort as Cohort
from .cohort import check_manifest as check_manifest
from .cohort import load_cohort as load_cohort
from .duplicates import find_same_hands as find_same_hands
from .shortcuts import compute_shortcuts as compute_shortcuts
from .splits import (
    find_leaks as find_leaks,
)
from .splits import (
    split_by_patient as split_by_patient,
)
from .splits import (
    warn_about_splits as warn_about_splits,
)
from .step import curate as curate
