from .knobs import build_knobs as build_knobs
from .notebooks import run_course as run_course
from .planted_marker import train_suspect as train_suspect
from .planted_mistakes import (
    compare_films as compare_films,
)
from .planted_mistakes import (
    describe_findings as describe_findings,
)
from .planted_mistakes import (
    plant_mistakes as plant_mistakes,
)
from .quiz import ask as ask
from .quiz import close as close
from .quiz import expect_error as expect_error
from .report import write_report as write_report
