from .loss_surface import LossSurface as LossSurface
from .per_example import example_slopes as example_slopes
from .per_example import example_weights as example_weights
from .per_example import input_derivative_norms as input_derivative_norms
from .product import HessianProduct as HessianProduct
from .randomness import HiddenRandomness as HiddenRandomness
