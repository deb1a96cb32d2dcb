from .operator import MatrixOperator as MatrixOperator
from .operator import SymmetricOperator as SymmetricOperator
