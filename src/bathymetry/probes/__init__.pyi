from .dead import DeadUnits as DeadUnits
from .dead import dead_units as dead_units
from .layers import perceptron_layers as perceptron_layers
from .pieces import LinearPieces as LinearPieces
from .pieces import linear_pieces as linear_pieces
