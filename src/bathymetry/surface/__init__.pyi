from .loss_surface import LossSurface as LossSurface
from .product import HessianProduct as HessianProduct
