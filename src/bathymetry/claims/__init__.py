"""Claims: sentences that a study can support or contradict, the rules that decide them, and what became of them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
