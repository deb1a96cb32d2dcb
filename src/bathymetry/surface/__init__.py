"""The loss surface of any network: loss, gradient, Hessian-vector products and Hessian at any parameters."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
