from .datasets import fetch as fetch
from .datasets import load as load
from .examples import Data as Data
from .examples import Examples as Examples
from .examples import label_noise as label_noise
from .examples import subset as subset
from .functions import function as function
from .strokes import strokes as strokes
