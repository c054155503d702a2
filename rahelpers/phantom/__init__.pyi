from .anatomy import Pose as Pose
from .dicom import make_dicom as make_dicom
from .disease import (
    Findings as Findings,
)
from .disease import (
    count_features as count_features,
)
from .disease import (
    draw_findings as draw_findings,
)
from .film import PhantomFilm as PhantomFilm
from .film import iter_cohort as iter_cohort
from .film import render as render
from .knobs import render_knobs as render_knobs
from .patient import (
    COHORT_SHA256 as COHORT_SHA256,
)
from .patient import (
    SPECTRA as SPECTRA,
)
from .patient import (
    Patient as Patient,
)
from .patient import (
    make_patient as make_patient,
)
