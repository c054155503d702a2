"""How a run is configured and stored: typed configuration, step folders, atomic writes."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
