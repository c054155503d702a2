"""What the notebooks share: questions, exercises, runs of the whole course."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
