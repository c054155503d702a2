"""Steps 04 and 05: heat maps, regions and how good they are."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
