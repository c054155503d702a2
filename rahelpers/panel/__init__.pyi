from .app import BANNER as BANNER
from .app import Panel as Panel
from .app import build_panel as build_panel
from .intake import read_film as read_film
from .intake import show_sample as show_sample
