"""How sharp a surface may be before an optimiser's steps overshoot by more each time.

On a quadratic with curvature λ along a direction, that direction is stable up to

    gradient descent            λ = 2/η
    with momentum β             λ = 2(1 + β)/η
    Adam, preconditioned λ      λ = (2 + 2β₁)/((1 − β₁)η)     38/η at β₁ = 0.9

Weight decay ω takes its part of that: ω itself from the first two, and AdamW's leaves (1 + β₁)(2 − ηω)/((1 − β₁)η).

Cohen et al. 2021, arXiv:2103.00065, and 2022, arXiv:2207.14484.
"""

from collections.abc import Sequence

from bathymetry.core.checks import positive_number
from bathymetry.core.errors import InputError
from bathymetry.training.optimisers import SGD, Adam, AdamW, Optimizer


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
    given: dict[str, float] = {}
    for name, value in optimizer.hyperparameters().items():
        if isinstance(value, Sequence):
            raise InputError(name, tuple(value), "give one value: each has a threshold of its own")
        given[name] = value
    rate, decay = positive_number("lr", given["lr"]), given["weight_decay"]
    if isinstance(optimizer, AdamW):  # a decay beside the gradient: θ ← (1 − ηω)θ − ηm/D
        return (1 + given["beta1"]) * (2 - rate * decay) / ((1 - given["beta1"]) * rate)
    if isinstance(optimizer, Adam):
        if decay:
            remedy = "its decay is preconditioned with the gradient: give AdamW, or no decay"
            raise InputError("weight_decay", decay, remedy)
        return (2 + 2 * given["beta1"]) / ((1 - given["beta1"]) * rate)
    if isinstance(optimizer, SGD):
        return 2 * (1 + given["momentum"]) / rate - decay
    raise InputError("optimizer", type(optimizer).__name__, "a threshold is known for SGD, Adam and AdamW")
