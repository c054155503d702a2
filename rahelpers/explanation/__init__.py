"""Steps 04 and 05: heat maps, Shapley values of regions, and how good both are."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
