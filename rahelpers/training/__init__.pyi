from . import figures as figures
from .folds import score_folds as score_folds
from .repeats import repeat as repeat
from .step import load_outputs as load_outputs
from .step import train as train
