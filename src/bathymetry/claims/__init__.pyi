from .judging import claim as claim
from .rules import best_of as best_of
from .rules import correlation as correlation
from .rules import exists as exists
from .rules import majority as majority
from .rules import median_in_interval as median_in_interval
from .rules import median_sign as median_sign
from .rules import stochastic_order as stochastic_order
