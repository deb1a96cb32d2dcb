from .examples import Data as Data
from .examples import Examples as Examples
from .functions import FUNCTIONS as FUNCTIONS
from .functions import evaluate as evaluate
from .functions import function as function
from .strokes import strokes as strokes
