"""What can be learnt of a symmetric matrix through its products alone; nothing here sees a network."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
