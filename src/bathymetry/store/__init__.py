"""What is kept: units by the hash of what decides their numbers, results with a schema, provenance and exports."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
