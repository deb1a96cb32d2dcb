"""What networks have beside θ: running statistics, other buffers, parameters that are not trained."""

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.networks import fixed_tensors
from bathymetry.surface.batches import Batch, Batches

if TYPE_CHECKING:
    from bathymetry.surface.loss_surface import LossSurface


def beside_theta(
    surface: "LossSurface", network: nn.Module, theta: Float[Tensor, " parameter"], field: str
) -> dict[str, Tensor]:
    """Find what a network has beside θ that the surface's own has otherwise and that changes the loss.

    Args:
        surface: The surface.
        network: Another network of the same architecture.
        theta: Its parameters.
        field: What to call it in a complaint.

    Returns:
        Its tensors by name; none if the surface's loss at its θ is its own.

    Raises:
        InputError: If it is of another architecture, or the rest can't be handed to the surface's network.
    """
    own, theirs = (fixed_tensors(one, surface.selection.shapes) for one in (surface._model, network))
    if surface.params is not None:  # then all other parameters are the surface's, whosever θ it is
        parameters = {name for name, _ in network.named_parameters()}
        theirs = {name: tensor for name, tensor in theirs.items() if name not in parameters}
    _check_layers(surface._model, network, field)
    named = {name for name, _ in [*network.named_buffers(), *network.named_parameters()]}
    for name, _ in surface._model.named_buffers():
        if name not in named and not _is_cache(surface._model, name):
            remedy = "expected a network of the same architecture as the surface's, which has it"
            raise InputError(field, f"a network without {name}", remedy)
    differing = {}
    for name, tensor in theirs.items():
        mine = own.get(name)
        if name in named and (mine is None or mine.shape != tensor.shape):
            if not _is_cache(network, name):
                remedy = "expected a network of the same architecture as the surface's, where it has shape"
                shape = "none" if mine is None else tuple(mine.shape)
                raise InputError(field, f"{name} of shape {tuple(tensor.shape)}", f"{remedy} {shape}")
        elif mine is None or not same_numbers(mine, tensor):
            differing[name] = tensor
    return differing if differing and _changes_the_loss(surface, theta, differing) else {}


class Beside:
    """What networks on a line have beside their parameters.

    Args:
        surface: The surface.
        a: What the network at α = 0 has beside θ that the surface's has not, by name.
        b: The same at α = 1.
        statistics: "estimate" for running statistics that are estimated anew between the ends, "interpolate" for
            tensors between those of the ends, "refuse" for neither.
        data: What to estimate statistics on; the surface's own data if None.

    Raises:
        InputError: If data are given and nothing is estimated.
    """

    def __init__(
        self, surface: "LossSurface", a: Mapping[str, Tensor], b: Mapping[str, Tensor], statistics: str, data: Any
    ) -> None:
        self._surface, self._statistics = surface, statistics
        if data is not None and statistics != "estimate":
            raise InputError("data", type(data).__name__, 'expected statistics="estimate" with it, which it is for')
        network = surface._network
        self._estimated = network.running_statistics if statistics == "estimate" else []
        self._data = (surface._batches if data is None else Batches(data)) if self._estimated else None
        self._ends = []
        if a or b:
            own = fixed_tensors(surface._model, surface.selection.shapes)
            names = {*a, *b}
            self._ends = [{n: network.cast((one[n] if n in one else own[n]).detach()) for n in names} for one in (a, b)]

    @property
    def varies(self) -> bool:
        """Whether anything but θ is another at each point."""
        return bool(self._ends or self._estimated)

    @property
    def differs(self) -> bool:
        """Whether anything but θ differs between the ends."""
        return bool(self._differing)

    @property
    def _differing(self) -> list[str]:
        a, b = self._ends or ({}, {})
        return [name for name in sorted(a) if not same_numbers(a[name], b[name])]

    def check_between(self) -> None:
        """Insist on a way to know what the networks between the ends have.

        Raises:
            InputError: If there is none.
        """
        model = self._surface._model
        weights = {name for name, _ in model.named_parameters()}
        for name in self._differing:
            if self._statistics == "refuse" and name not in weights:
                remedy = 'the networks between have none of their own: expected statistics="estimate" or "interpolate"'
                if name not in self._surface._network.running_statistics:
                    remedy = 'expected statistics="interpolate", which takes what lies between'
                raise InputError("b", f"a network whose {name} differs from a's", remedy)
            if self._statistics == "estimate" and name not in weights and name not in self._estimated:
                remedy = 'no data give it: expected statistics="interpolate"'
                raise InputError("b", f"a network whose {name} differs from a's", remedy)
            if not self._ends[0][name].is_floating_point():
                raise InputError("b", f"a network whose {name} differs from a's", "nothing lies between whole numbers")

    def measured(self, measure: Callable[[Tensor], Tensor], theta: Tensor, alpha: float | None) -> Tensor:
        """Measure at points of the line.

        Args:
            measure: What to measure.
            theta: Parameters, (member, parameter).
            alpha: Where on the line, if something but θ varies.

        Returns:
            What was measured.
        """
        if alpha is None or not self.varies:
            return measure(theta)
        a, b = self._ends or ({}, {})
        ends = {0.0: a, 1.0: b}
        here = ends.get(alpha) or {name: torch.lerp(a[name], b[name], alpha) for name in a}
        if alpha in ends or not self._estimated:
            with self._surface._network.carrying(here):
                return measure(theta)
        found = []
        for row in theta:
            with self._surface._network.carrying(here):
                statistics = self._estimate(row)
            with self._surface._network.carrying({**here, **statistics}):
                found.append(measure(row[None]))
        return torch.cat(found)

    def _estimate(self, theta: Tensor) -> dict[str, Tensor]:
        """Estimate running statistics at a point on the data."""
        network, shapes = self._surface._network, self._surface.selection
        pieces = _pieces(self._surface, theta, self._data or self._surface._batches)
        return network.estimate_statistics(shapes.split(theta.detach()), network.constants(shapes.shapes), pieces)


def _pieces(surface: "LossSurface", theta: Tensor, data: Batches) -> Iterator[Batch]:
    for batch in data:
        placed = surface._placed(batch)
        most = max(2, surface._max_bytes // surface._bytes(theta[None], placed))
        yield from placed.split(ceil(placed.rows / ceil(placed.rows / most)))  # pieces of about the same size


def _changes_the_loss(surface: "LossSurface", theta: Tensor, tensors: dict[str, Tensor]) -> bool:
    # any batch may be the one in which they take part, such as the row of a table that only its words look up
    with surface._network.measuring():
        for _, batch in surface.batches(theta[None], 1):
            without = surface.automatic.loss(theta[None], batch)
            with surface._network.carrying(tensors):
                carried = surface.automatic.loss(theta[None], batch)
            if not same_numbers(without, carried):
                return True
    return False


def _check_layers(own: nn.Module, network: nn.Module, field: str) -> None:
    layers = dict(own.named_modules())
    for name, layer in network.named_modules():
        mine = type(layers.get(name, layer))
        if next(layer.children(), None) is None and type(layer).__name__ != mine.__name__:
            remedy = f"expected a network of the same architecture as the surface's, where it is a {mine.__name__}"
            raise InputError(field, f"a network whose layer {name} is a {type(layer).__name__}", remedy)


def _is_cache(network: nn.Module, name: str) -> bool:
    # what a forward pass leaves in a buffer that is not saved, such as a table of positions as long as the last input
    layer, _, buffer = name.rpartition(".")
    return buffer in network.get_submodule(layer)._non_persistent_buffers_set


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are the same in the first's dtype, NaN where the other is.

    Args:
        one: A tensor.
        other: Another.

    Returns:
        Whether they are.
    """
    other = other.to(one)
    return (
        one.shape == other.shape
        and torch.equal(one.nan_to_num(0.0), other.nan_to_num(0.0))
        and torch.equal(one.isnan(), other.isnan())
    )
