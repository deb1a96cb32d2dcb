"""How sharp a surface may be before an optimiser's steps overshoot by more each time.

On a quadratic with curvature λ along a direction, that direction is stable up to

    gradient descent            λ = 2/η
    with momentum β             λ = 2(1 + β)/η
    Adam, preconditioned λ      λ = (2 + 2β₁)/((1 − β₁)η)     38/η at β₁ = 0.9

Cohen et al. 2021, arXiv:2103.00065, and 2022, arXiv:2207.14484.
"""

from collections.abc import Sequence

from bathymetry.core.errors import InputError
from bathymetry.training.optimisers import SGD, Adam, Optimizer


def stability_threshold(optimizer: Optimizer) -> float:
    """Give the largest curvature at which an optimiser is stable.

    Args:
        optimizer: SGD or Adam, with one value for each hyperparameter.

    Returns:
        The threshold on the largest eigenvalue of the Hessian; for Adam on that of the preconditioned Hessian.

    Raises:
        InputError: If a hyperparameter differs between members, or no threshold is known.

    Example:
        >>> stability_threshold(SGD(lr=0.1)), round(stability_threshold(Adam(lr=1e-3)))
        (20.0, 38000)
    """
    for name, value in optimizer.hyperparameters().items():
        if isinstance(value, Sequence):
            raise InputError(name, tuple(value), "give one value: each has a threshold of its own")
    if isinstance(optimizer, Adam):
        beta = float(optimizer.beta1)  # type: ignore[arg-type]
        return (2 + 2 * beta) / ((1 - beta) * float(optimizer.lr))  # type: ignore[arg-type]
    if isinstance(optimizer, SGD):
        return 2 * (1 + float(optimizer.momentum)) / float(optimizer.lr)  # type: ignore[arg-type]
    raise InputError("optimizer", type(optimizer).__name__, "a threshold is known for SGD, Adam and AdamW")
