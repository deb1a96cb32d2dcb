from .examples import Data as Data
from .examples import Examples as Examples
