from .alignment import align as align
from .budget import fit_budget as fit_budget
from .perceptron import Perceptron as Perceptron
from .perceptron import mlp as mlp
from .perceptron import parameter_count as parameter_count
