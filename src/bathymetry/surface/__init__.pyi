from .checks import HiddenRandomness as HiddenRandomness
from .loss_surface import LossSurface as LossSurface
from .matrices import Fisher as Fisher
from .matrices import GaussNewton as GaussNewton
