from .base import Drawn as Drawn
from .base import JointMeasurement as JointMeasurement
from .base import Planned as Planned
from .base import Study as Study
from .base import figure as figure
from .catalogue import find as find
from .families import FunctionStudy as FunctionStudy
from .families import ImageStudy as ImageStudy
