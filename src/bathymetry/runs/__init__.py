"""Runs that people already have in other tools: read, compared, and decided by the same rules as studies."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
