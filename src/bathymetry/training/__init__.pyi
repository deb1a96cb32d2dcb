from .optimisers import SGD as SGD
from .optimisers import Adam as Adam
from .optimisers import AdamW as AdamW
from .schedules import Constant as Constant
from .schedules import Cosine as Cosine
from .schedules import Step as Step
