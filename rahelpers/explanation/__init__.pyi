from . import figures as figures
from . import second_opinion as second_opinion
from .attributions import (
    compute_integrated_gradients as compute_integrated_gradients,
)
from .attributions import (
    compute_occlusion as compute_occlusion,
)
from .attributions import (
    compute_smoothgrad as compute_smoothgrad,
)
from .baselines import choose_baseline as choose_baseline
from .baselines import make_baseline as make_baseline
from .films import choose_films as choose_films
from .gradcam import METHODS as METHODS
from .gradcam import compute_gradcam as compute_gradcam
from .gradcam_step import (
    explain_gradcam as explain_gradcam,
)
from .gradcam_step import (
    pixel_spacing as pixel_spacing,
)
from .region_game import (
    RegionGame as RegionGame,
)
from .region_game import (
    RegionMasker as RegionMasker,
)
from .regions import make_regions as make_regions
from .regions import merge_regions as merge_regions
from .scoreboard import score_map as score_map
from .scoreboard import show_board as show_board
from .shap_step import (
    compute_region_shap as compute_region_shap,
)
from .shap_step import (
    explain_shap as explain_shap,
)
from .shapley import (
    compare_estimators as compare_estimators,
)
from .shapley import (
    compute_owen as compute_owen,
)
from .shapley import (
    explain_with_shap as explain_with_shap,
)
from .tables import load_maps as load_maps
from .tables import load_tables as load_tables
from .tables import load_values as load_values
from .tables import show_sanity as show_sanity
