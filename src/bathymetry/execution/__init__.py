"""From settings to stored results: what is there is reused, what is missing is trained."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
