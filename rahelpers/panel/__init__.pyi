from .app import Panel as Panel
from .app import build_panel as build_panel
from .state import BANNER as BANNER
