"""The curvature that an adaptive optimiser sees: the largest eigenvalue of the preconditioned Hessian.

    λ_max(D^(−½) H D^(−½)),    D = diag(√(v/(1−β₂ᵗ)) + ε) for Adam

Adam divides the gradient by D, so this eigenvalue, not that of H, decides whether its steps are stable: up to
(2 + 2β₁)/((1 − β₁)η), which is 38/η at the usual β₁ = 0.9. Cohen et al. 2022, arXiv:2207.14484.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.linalg import NotFiniteError
from bathymetry.probes.points import check_surface, places
from bathymetry.probes.spectra import checked_preconditioner, eigenvalues
from bathymetry.surface import LossSurface

_WHOLE = 1000  # parameters up to which the Hessian is diagonalised whole


def preconditioned_eigenvalue(
    surface: LossSurface,
    theta: Float[Tensor, "*member parameter"] | None = None,
    *,
    preconditioner: Float[Tensor, "*member parameter"],
) -> Float[Tensor, "*member"]:
    """Measure the largest eigenvalue of a preconditioned Hessian.

    Up to 1,000 parameters the Hessian is diagonalised whole, in float64. Beyond, this is the value of
    `eigenvalues(surface, theta, k=1, preconditioner=preconditioner)`, by products in the surface's own precision; ask
    that for the residual, or for a limit in seconds.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.
        preconditioner: D, what each coordinate of the gradient is divided by, of the shape of θ.

    Returns:
        The largest eigenvalue; NaN for a member that diverged.

    Raises:
        NotFiniteError: If the Hessian at the only point is not finite.

    Example:
        Linear regression with H = diag(2, 8), divided by (1, 4), bends by 2 in both directions.

        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> inputs = torch.diag(torch.tensor([2.0, 8.0]).sqrt())
        >>> surface = LossSurface(model, "mse", (inputs, torch.zeros(2, 1)))
        >>> round(preconditioned_eigenvalue(surface, preconditioner=torch.tensor([1.0, 4.0])).item(), 6)
        2.0
    """
    check_surface(surface)
    if surface.dimension > _WHOLE:
        return eigenvalues(surface, theta, k=1, preconditioner=preconditioner).values[..., 0]
    surface = surface.double()
    where = places(surface, theta)
    divisor, where = checked_preconditioner(surface, where, preconditioner)
    largest = torch.full((len(where.theta),), torch.nan, dtype=torch.float64)
    if bool(where.finite.any()):
        root = divisor[where.finite].sqrt()
        hessian = surface.hessian(where.theta[where.finite]) / (root[:, :, None] * root[:, None, :])
        good = hessian.isfinite().flatten(1).all(1)
        if where.single and not bool(good):
            raise NotFiniteError
        values = torch.full((len(hessian),), torch.nan, dtype=torch.float64)
        if bool(good.any()):
            values[good.cpu()] = torch.linalg.eigvalsh(hessian[good])[:, -1].cpu()
        largest[where.finite] = values
    measured: Tensor = where.given(largest)
    return measured


def preconditioner(surface: LossSurface, optimizer: torch.optim.Optimizer) -> Float[Tensor, " parameter"]:
    """Give what an optimiser of PyTorch divides the gradient by now, coordinate by coordinate.

    Args:
        surface: A surface of the network that the optimiser trains.
        optimizer: `torch.optim.Adam`, `AdamW` or `RMSprop`, after at least one step.

    Returns:
        D, laid out like θ: √(v/(1 − β₂ᵗ)) + ε for Adam, with the largest v so far under amsgrad, and √v + ε for
        RMSprop, v less the squared mean gradient where it is centred.

    Raises:
        InputError: If it is another optimiser, has made no step, or does not train all of the surface's parameters.

    Example:
        After one step of Adam v/(1 − β₂) is g², so D = |g| + ε.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> surface = LossSurface(model, "mse", (torch.ones(1, 1), model(torch.ones(1, 1)).detach() + 1))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> (model.weight.sum() * 3).backward()
        >>> optimizer.step()
        >>> round(preconditioner(surface, optimizer).item(), 4)
        3.0
    """
    known = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
    if type(optimizer) not in known:
        raise InputError("optimizer", type(optimizer).__name__, "expected torch.optim.Adam, AdamW or RMSprop")
    check_surface(surface)
    own = dict(surface._model.named_parameters())
    group_of = {id(one): group for group in optimizer.param_groups for one in group["params"]}
    pieces = {}
    for name in surface.selection.shapes:
        if id(own[name]) not in group_of:
            remedy = f"it does not train {name}: expected the optimizer of the surface's network, or params= without it"
            raise InputError("optimizer", type(optimizer).__name__, remedy)
        state = optimizer.state.get(own[name], {})
        if not state:
            raise InputError("optimizer", f"without a step of {name}", "expected one that has made at least one step")
        pieces[name] = _divisor(state, group_of[id(own[name])])
    return surface.selection.join(pieces)


def _divisor(state: dict[str, Tensor], group: dict[str, object]) -> Tensor:
    eps = float(group["eps"])  # type: ignore[arg-type]
    if "square_avg" in state:
        square = state["square_avg"].double()
        if group["centered"]:
            square = (square - state["grad_avg"].double().square()).clamp_min(0)
        return square.sqrt() + eps
    square = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"].double()
    beta2 = float(group["betas"][1])  # type: ignore[index]
    divisor: Tensor = (square / (1 - beta2 ** float(state["step"]))).sqrt() + eps
    return divisor
