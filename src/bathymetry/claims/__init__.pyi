from .judging import claim as claim
from .rules import best_of as best_of
from .rules import correlation as correlation
from .rules import exists as exists
from .rules import majority as majority
from .rules import mean_in_interval as mean_in_interval
from .rules import mean_sign as mean_sign
from .rules import stochastic_order as stochastic_order
