from . import figures as figures
from .repeats import repeat as repeat
from .repeats import score_folds as score_folds
from .step import load_outputs as load_outputs
from .step import train as train
