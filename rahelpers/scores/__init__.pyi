from .calibration import (
    adjust_prevalence as adjust_prevalence,
)
from .calibration import (
    calibrate as calibrate,
)
from .calibration import (
    choose_operating_point as choose_operating_point,
)
from .calibration import (
    compute_calibration as compute_calibration,
)
from .calibration import (
    fit_calibration as fit_calibration,
)
from .comparison import compute_delong as compute_delong
from .comparison import permutation_test as permutation_test
from .conformal import fit_conformal as fit_conformal
from .conformal import predict_sets as predict_sets
from .intervals import (
    Resampling as Resampling,
)
from .intervals import (
    auc_interval as auc_interval,
)
from .intervals import (
    bootstrap_interval as bootstrap_interval,
)
from .intervals import (
    interval_text as interval_text,
)
from .intervals import (
    share_interval as share_interval,
)
from .metrics import (
    FEW_FILMS as FEW_FILMS,
)
from .metrics import (
    ScoredFilms as ScoredFilms,
)
from .metrics import (
    compute_auc as compute_auc,
)
from .metrics import (
    compute_average_precision as compute_average_precision,
)
from .metrics import (
    compute_brier as compute_brier,
)
from .metrics import (
    compute_ece as compute_ece,
)
from .metrics import (
    predictive_values as predictive_values,
)
from .net_benefit import compute_net_benefit as compute_net_benefit
