"""What is stored: chunks by the hash of their config, results with a schema, provenance and tables."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
