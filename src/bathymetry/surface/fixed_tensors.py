"""What networks have besides θ: running statistics, other buffers, parameters that are not varied, tensor attributes.

A point of a surface is θ alone: another network's θ is that network only if the rest is the same or has no effect.
"""

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.showing import kind_of, with_article
from bathymetry.core.tensors import fixed_tensors
from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.network import same_numbers
from bathymetry.surface.parts import Parts
from bathymetry.surface.selection import Point

_SAME = "expected a network of the same architecture as the surface's"


def differing_tensors(
    parts: Parts, network: nn.Module, theta: Point, field: str, *, with_parameters: bool
) -> dict[str, Tensor]:
    """Fixed tensors of a network that differ from those of the surface's own, if that changes the loss; by name."""
    model = parts.derivatives.network.module
    _check_layers(model, network, field)
    own, theirs = (fixed_tensors(one, parts.derivatives.selection.shapes) for one in (model, network))
    if not with_parameters:  # all that are not in θ are the surface's, whosever θ it is
        parameters = dict(network.named_parameters())
        theirs = {name: tensor for name, tensor in theirs.items() if name not in parameters}
    stored = {name for name, _ in [*network.named_buffers(), *network.named_parameters()]}
    missing = [name for name, _ in model.named_buffers() if name not in stored and not _is_cache(model, name)]
    if missing:
        raise InputError(field, f"a network without {missing[0]}", f"{_SAME}, which has it")
    differing = {}
    for name, tensor in theirs.items():
        mine = own.get(name)
        if name in stored and (mine is None or mine.shape != tensor.shape):
            if not _is_cache(network, name):
                shape = "none" if mine is None else tuple(mine.shape)
                raise InputError(
                    field, f"{name} of shape {tuple(tensor.shape)}", f"{_SAME}, where it has shape {shape}"
                )
        elif mine is None or not same_numbers(mine, tensor):
            differing[name] = tensor
    return differing if differing and _changes_the_loss(parts, theta, differing) else {}


class FixedTensorsOnLine:
    """Fixed tensors of the networks on a line, from those of its ends a and b that differ from the surface's.

    Between the ends, running statistics are estimated on data, all tensors are interpolated, or neither ("refuse").
    """

    def __init__(
        self, parts: Parts, a: Mapping[str, Tensor], b: Mapping[str, Tensor], statistics: str, data: Any
    ) -> None:
        if data is not None and statistics != "estimate":
            raise InputError("data", type(data).__name__, 'expected statistics="estimate" with it, which it is for')
        self._parts, self._network, self._statistics = parts, parts.derivatives.network, statistics
        self._selection = parts.derivatives.selection
        self._estimated = self._network.running_statistics if statistics == "estimate" else []
        self._data = Batches(data) if data is not None and self._estimated else parts.batches
        own = fixed_tensors(self._network.module, self._selection.shapes)
        names, cast = sorted({*a, *b}), self._network.cast
        self._ends = [{n: cast((one[n] if n in one else own[n]).detach()) for n in names} for one in (a, b)]

    @property
    def varies(self) -> bool:
        """Whether anything but θ depends on the point."""
        return bool(self._ends[0] or self._estimated)

    @property
    def differing(self) -> list[str]:
        """Names of the tensors that differ between the ends."""
        a, b = self._ends
        return [name for name in a if not same_numbers(a[name], b[name])]

    def check_between(self) -> None:
        """Refuse ends between which a fixed tensor is not defined."""
        parameters = dict(self._network.module.named_parameters())
        for name in self.differing:
            remedy = ""
            if name not in parameters and self._statistics == "refuse":
                remedy = 'expected statistics="interpolate", which takes what lies between'
                if name in self._network.running_statistics:
                    remedy = 'the networks between have none: expected statistics="estimate" or "interpolate"'
            elif name not in parameters and self._statistics == "estimate" and name not in self._estimated:
                remedy = 'it does not follow from data: expected statistics="interpolate"'
            elif not self._ends[0][name].is_floating_point():
                remedy = "nothing lies between whole numbers"
            if remedy:
                raise InputError("b", f"a network whose {name} differs from a's", remedy)

    def measured(self, measure: Callable[[Tensor], Tensor], theta: Tensor, alpha: float | None) -> Tensor:
        """Measure at parameters (member, parameter) of the point α, which matters if fixed tensors vary."""
        if alpha is None or not self.varies:
            return measure(theta)
        a, b = self._ends
        ends = {0.0: a, 1.0: b}
        here = ends[alpha] if alpha in ends else {name: torch.lerp(a[name], b[name], alpha) for name in a}
        if alpha in ends or not self._estimated:
            with self._network.carrying(here):
                return measure(theta)
        found = []
        for row in theta:
            with self._network.carrying(here):
                parameters = self._selection.split(row.detach())
                statistics = self._network.estimate_statistics(parameters, self._pieces(row))
            with self._network.carrying({**here, **statistics}):
                found.append(measure(row[None]))
        return torch.cat(found)

    def _pieces(self, theta: Tensor) -> Iterator[Batch]:
        """Cut the data into parts that fit into memory, those of a batch of about the same size."""
        for batch in self._data:
            placed = self._parts.place(batch)
            most = max(2, self._parts.max_bytes // self._parts.bytes_per_example(theta[None], placed))
            yield from placed.split(ceil(placed.rows / ceil(placed.rows / most)))


def _changes_the_loss(parts: Parts, theta: Tensor, tensors: dict[str, Tensor]) -> bool:
    # any batch may be the one in which they take part, such as the row of a table that only its words look up
    derivatives, network = parts.derivatives, parts.derivatives.network
    with network.measuring():
        for _, batch in parts.weighted(theta[None], 1):
            without = derivatives.loss(theta[None], batch)
            with network.carrying(tensors):
                if not same_numbers(without, derivatives.loss(theta[None], batch)):
                    return True
    return False


def _check_layers(own: nn.Module, network: nn.Module, field: str) -> None:
    layers = dict(own.named_modules())
    for name, layer in network.named_modules():
        mine = type(layers.get(name, layer)).__name__
        if next(layer.children(), None) is None and type(layer).__name__ != mine:
            what = f"a network whose layer {name} is {kind_of(layer)}"
            raise InputError(field, what, f"{_SAME}, where it is {with_article(mine)}")


def _is_cache(network: nn.Module, name: str) -> bool:
    """Whether a buffer is not saved, such as a table of positions as long as the last input."""
    layer, _, buffer = name.rpartition(".")
    return buffer in network.get_submodule(layer)._non_persistent_buffers_set
