"""Helpers of the RA hand workbench: one package for each step of the road.

`from rahelpers import ...` loads a module when its name is first used: importing this is instant,
and TensorFlow starts only with what needs it.
"""

import lazy_loader as lazy

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
