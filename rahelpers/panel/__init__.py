"""The diagnosis panel: a film in, an answer with its explanations out.

It runs in JupyterLab and, through Voilà, as a web app. State is frozen values (`state`), views are
pure functions (`view`), slow work is done by one thread (`work`), and the rest are thin callbacks
(`diagnosis`, `whatif`, `reader`). Only the thread starts TensorFlow, so the page appears at once.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
