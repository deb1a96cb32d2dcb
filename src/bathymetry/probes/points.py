"""Points of a loss surface at which a probe measures: one, or one per member of an ensemble."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.linalg import SymmetricOperator
from bathymetry.linalg.operator import NotFiniteError
from bathymetry.surface import LossSurface

T = TypeVar("T")
Theta = Float[Tensor, "*member parameter"] | None  # one point, one per member, or the model's current parameters
Precision = Literal["own", "float32", "float64"]


@dataclass(frozen=True)
class Points:
    """Points of a surface; members that diverged are among them."""

    theta: Float[Tensor, "member parameter"]
    single: bool  # passed as (parameter,), without a member axis
    loss: Float[Tensor, " member"]
    finite: Bool[Tensor, " member"]  # whether the loss is; on the CPU

    def squeeze(self, results: Shaped[Tensor, "member *rest"]) -> Tensor:
        """Drop the member axis if the points came without one."""
        return results[0] if self.single else results

    def one(self) -> Float[Tensor, " parameter"]:
        """The only point."""
        if not self.single:
            raise InputError("theta", f"{len(self.theta)} members", "expected one point, (parameter,)")
        return self.theta[0]

    def stack(self, rows: Iterable[Tensor]) -> Tensor:
        """Stack one result per member."""
        return self.squeeze(torch.stack(list(rows)))

    def each(self, measure: Callable[..., T], missing: T, *per_member: Sequence[Any]) -> list[T]:
        """Measure one member after another; `missing` is the result of a member without finite derivatives."""
        results = []
        for theta, finite, *arguments in zip(self.theta, self.finite.tolist(), *per_member, strict=True):
            try:
                results.append(measure(theta, *arguments) if finite else missing)
            except NotFiniteError:
                if self.single:
                    raise
                results.append(missing)
        return results

    def table(self, measure: Callable[[Tensor], Tensor], *shape: int) -> Tensor:
        """Measure float64 numbers of one shape at each member; NaN for a member without finite derivatives."""
        return self.stack(self.each(measure, torch.full(shape, torch.nan, dtype=torch.float64)))


def check_surface(surface: object) -> None:
    if not isinstance(surface, LossSurface):
        kind = None if surface is None else type(surface).__name__
        raise InputError("surface", kind, "expected a bm.LossSurface(model, loss, data)")


def as_points(
    surface: LossSurface, theta: Theta, precision: Precision = "own", *, stacklevel: int = 4
) -> tuple[LossSurface, Points]:
    """Check where a probe is to measure, and in which precision: the surface's own, at least float32, or float64."""
    check_surface(surface)
    if precision == "float32":
        surface = surface.at_least_float32(stacklevel=stacklevel)
    elif precision == "float64":
        surface = surface.double()
    points, single = surface.points(theta)
    loss = surface.loss(points)
    if single and not bool(loss.isfinite()):
        raise InputError("loss", float(loss), "expected a point where the loss is finite")
    return surface, Points(points, single, loss, loss.isfinite().cpu())


class FixedOperator:
    """An operator in place of a surface and its Hessian at one point."""

    def __init__(self, operator: SymmetricOperator) -> None:
        self.dimension, self.dtype, self.device = operator.dimension, operator.dtype, operator.device
        self.backend, self._operator = type(operator).__name__, operator

    def product(self, theta: Tensor) -> SymmetricOperator:  # noqa: ARG002 - as a surface takes it
        return self._operator


def as_hessians(surface: LossSurface | SymmetricOperator, theta: Theta) -> tuple[LossSurface | FixedOperator, Points]:
    """Check where a probe of products is to measure: on a surface in at least float32, or on an operator."""
    if isinstance(surface, LossSurface | type) or not isinstance(surface, SymmetricOperator):
        return as_points(surface, theta, "float32", stacklevel=5)
    if theta is not None:
        raise InputError("theta", "a point", "expected None, as an operator is made at its own point")
    shape = getattr(surface, "shape", ())
    if len(shape) > 2:
        raise InputError("surface", f"an operator of shape {shape}", "expected one at one point, of shape (P, P)")
    theta = torch.zeros((), dtype=surface.dtype, device=surface.device).expand(1, surface.dimension)
    return FixedOperator(surface), Points(theta, True, torch.zeros(1), torch.ones(1, dtype=torch.bool))


def as_tensor(field: str, value: object, expected: str) -> Tensor:
    """Check that a value is, or makes, a dense tensor of real numbers."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(field, type(value).__name__, expected) from error
    check_dense(field, tensor)
    return tensor.detach()


def one_of(field: str, value: object, options: Any) -> None:
    """Check that a value is one of a Literal's."""
    if not isinstance(value, str) or value not in get_args(options):
        shown = value if isinstance(value, str) else type(value).__name__
        raise InputError(field, shown, f"expected one of {', '.join(get_args(options))}")


def check_seed(seed: object) -> int:
    return whole_number("seed", seed, 0, 2**63 - 1)
