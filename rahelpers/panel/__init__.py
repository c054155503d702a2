"""The diagnosis panel: a film in, an answer with its explanations out; in JupyterLab and, through
Voila, as a web app.

State is frozen values (`state`), views are pure functions (`view`), what takes long is done by one
thread (`work`), and the rest are thin callbacks (`diagnosis`, `whatif`, `reader`). Only the thread
starts TensorFlow, so the page is there at once.
"""

from rahelpers.panel.app import Panel, build_panel
from rahelpers.panel.state import BANNER

__all__ = ["BANNER", "Panel", "build_panel"]
