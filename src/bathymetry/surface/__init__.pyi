from .checks import HiddenRandomness as HiddenRandomness
from .curvature import Fisher as Fisher
from .curvature import GaussNewton as GaussNewton
from .loss_surface import LossSurface as LossSurface
