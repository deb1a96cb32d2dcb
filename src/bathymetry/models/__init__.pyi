from .perceptron import Perceptron as Perceptron
from .perceptron import mlp as mlp
from .perceptron import parameter_count as parameter_count
