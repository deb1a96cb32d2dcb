"""Bathymetry: controlled experiments on families of neural networks, measured on the loss surface."""

from importlib.metadata import version

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
__version__ = version("bathymetry")
