"""Where a probe measures: at one point of a surface, or at every member of an ensemble."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.linalg import NotFiniteError
from bathymetry.surface import LossSurface

T = TypeVar("T")


@dataclass(frozen=True)
class Places:
    """Points of a surface, of which some may be of members that diverged."""

    theta: Float[Tensor, "member parameter"]
    single: bool  # given without a member axis
    finite: Bool[Tensor, " member"]  # whether the loss there is a number

    def given(self, measured: Shaped[Tensor, "member *rest"]) -> Tensor:
        """Give a result the axes that the points came with.

        Args:
            measured: A row a point.

        Returns:
            The same, or its only row.
        """
        return measured[0] if self.single else measured

    def each(self, measure: Callable[[Float[Tensor, " parameter"]], T]) -> list[T | None]:
        """Measure one point after another.

        Args:
            measure: What to do at a point.

        Returns:
            One result a point; None for a member that diverged, or has no finite second derivatives.
        """

        def measured(row: Tensor) -> T | None:
            try:
                return measure(row)
            except NotFiniteError:
                if self.single:
                    raise
                return None

        return [measured(row) if good else None for row, good in zip(self.theta, self.finite.tolist(), strict=True)]


def check_surface(surface: object) -> None:
    """Insist on a loss surface.

    Args:
        surface: What was given for one.

    Raises:
        InputError: If it is something else, such as a network.
    """
    if not isinstance(surface, LossSurface):
        kind = None if surface is None else type(surface).__name__
        raise InputError("surface", kind, "expected a bm.LossSurface(model, loss, data)")


def places(surface: LossSurface, theta: Float[Tensor, "*member parameter"] | None) -> Places:
    """Look where a probe is to measure.

    Args:
        surface: The surface.
        theta: One point, one a member, or None for the network's own parameters.

    Returns:
        The points.

    Raises:
        InputError: If the loss at the only point is not a number.
    """
    check_surface(surface)
    points, single = surface.points(theta)
    loss = surface.loss(points)
    finite = loss.isfinite()
    if single and not bool(finite):
        raise InputError("loss", float(loss), "a probe needs a point where the loss is a finite number")
    return Places(points, single, finite.cpu())


def one_place(surface: LossSurface, theta: Float[Tensor, " parameter"] | None) -> Float[Tensor, " parameter"]:
    """Look where a probe of one point is to measure.

    Args:
        surface: The surface.
        theta: The point, or None for the network's own parameters.

    Returns:
        The point.

    Raises:
        InputError: If there are several, or the loss there is not a number.
    """
    check_surface(surface)
    where = places(surface, theta)
    if not where.single:
        raise InputError("theta", f"{len(where.theta)} members", "one point is measured at a time: give (parameter,)")
    return where.theta[0]


def filled(results: list[Tensor | None], like: Tensor) -> Tensor:
    """Stack results, NaN for members that have none.

    Args:
        results: One a member.
        like: The shape of one.

    Returns:
        All of them, member first.
    """
    return torch.stack([torch.full_like(like, torch.nan) if one is None else one for one in results])
