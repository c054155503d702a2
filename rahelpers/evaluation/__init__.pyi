from . import figures as figures
from .external import evaluate_elsewhere as evaluate_elsewhere
from .step import evaluate as evaluate
from .tables import (
    compare_networks as compare_networks,
)
from .tables import (
    find_worst_errors as find_worst_errors,
)
from .tables import (
    load_predictions as load_predictions,
)
from .tables import (
    load_table as load_table,
)
from .tables import (
    metrics_table as metrics_table,
)
from .tables import (
    show_score as show_score,
)
