from . import core as core
from . import course as course
from . import curation as curation
from . import data as data
from . import display as display
from . import evaluation as evaluation
from . import explanation as explanation
from . import films as films
from . import network as network
from . import panel as panel
from . import phantom as phantom
from . import prediction as prediction
from . import scores as scores
from . import training as training
from .core.config import (
    RunConfig as RunConfig,
)
from .core.config import (
    config_from_notebook as config_from_notebook,
)
from .core.config import (
    make_config as make_config,
)
from .core.store import Run as Run
from .core.store import open_run as open_run
from .curation.cohort import load_cohort as load_cohort
from .curation.step import curate as curate
from .data.sources.registry import list_films as list_films
from .evaluation.step import evaluate as evaluate
from .explanation.gradcam import compute_gradcam as compute_gradcam
from .explanation.gradcam_step import explain_gradcam as explain_gradcam
from .explanation.shap_step import (
    compute_region_shap as compute_region_shap,
)
from .explanation.shap_step import (
    explain_shap as explain_shap,
)
from .films.radiograph import Radiograph as Radiograph
from .films.radiograph import RadiographError as RadiographError
from .films.reading import read_radiograph as read_radiograph
from .network.bundle import (
    Bundle as Bundle,
)
from .network.bundle import (
    load_bundle as load_bundle,
)
from .network.bundle import (
    predict_logits as predict_logits,
)
from .prediction.film import answer_hand as answer_hand
from .prediction.film import predict_films as predict_films
from .training.step import train as train

__version__: str
