from .alignment import align as align
from .mlp import MLPConfig as MLPConfig
from .mlp import fit_budget as fit_budget
from .mlp import mlp as mlp
