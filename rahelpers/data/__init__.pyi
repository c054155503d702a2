from .counterfactual import redraw_film as redraw_film
from .download import fetch as fetch
from .records import DATASETS as DATASETS
from .records import find_record as find_record
from .sources.registry import check_source as check_source
from .sources.registry import describe_source as describe_source
from .sources.registry import list_films as list_films
