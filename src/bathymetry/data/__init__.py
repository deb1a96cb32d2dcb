"""Data sets: drawn digits, images in files, functions of one variable, and label noise."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
