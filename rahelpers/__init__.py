"""Helpers of the RA hand workbench. Importing this is instant: TensorFlow loads only where it is
needed.
"""

__version__ = "0.1.0"
