"""Matching the hidden units of two networks, weight by weight.

    max over permutations P of Σ ⟨A, P B Pᵀ⟩,  over all tensors A of one network and B of the other

Layer by layer, each an assignment problem given the others, until no layer improves: Ainsworth, Hayase and Srinivasa
2023, arXiv:2209.04836. Such ascents end in local maxima. One that first matches layer after layer from the inputs,
each by what enters its units alone, begins at the global one if the networks are permuted copies of each other: that
permutation is then the only best answer of each problem (Cauchy and Schwarz), if no two units have the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bathymetry.models.hidden_units import HiddenUnits

_ROUNDS = 100
_ROUNDING = 1e-12  # a gain below this share of what is added up may be rounding alone

Order = Tensor  # (unit,), int64: which unit comes where
Tensors = Mapping[str, Tensor]


def matched(places: Sequence[HiddenUnits], a: Tensors, b: Tensors) -> list[Order]:
    """Find the order of b's hidden units that matches a best.

    Args:
        places: The hidden units, inputs first.
        a: The parameters to match, by name, float64.
        b: Those to permute.

    Returns:
        An order for each place.
    """
    pair = _Pair(places, a, b)
    best, most = [torch.arange(one.count) for one in places], -torch.inf
    for start in (pair.from_inputs(), pair.from_outputs(), best):
        orders = pair.settled(start)
        reached, size = pair.agreement(orders)
        if reached > most + _ROUNDING * size:
            best, most = orders, reached
    return best


def permuted(tensor: Float[Tensor, "*axes"], axis: int, order: Order) -> Float[Tensor, "*axes"]:
    """Put the units along an axis in another order.

    Args:
        tensor: Any tensor.
        axis: Where the units lie, each a run of neighbours.
        order: Which unit comes where.

    Returns:
        The tensor with its units in that order.
    """
    shape = tensor.shape
    runs = tensor.reshape(*shape[:axis], len(order), -1, *shape[axis + 1 :])
    return runs.index_select(axis, order.to(tensor.device)).reshape(shape)


@dataclass(frozen=True)
class _Pair:
    places: Sequence[HiddenUnits]
    a: Tensors
    b: Tensors

    def from_inputs(self) -> list[Order]:
        orders: list[Order] = []
        for place in range(len(self.places)):
            orders.append(_assigned(self._entering(place, orders)))
        return orders

    def from_outputs(self) -> list[Order]:
        orders = [torch.arange(one.count) for one in self.places]
        for place in reversed(range(len(self.places))):
            orders[place] = _assigned(self._leaving(place, orders))
        return orders

    def settled(self, start: Sequence[Order]) -> list[Order]:
        """Improve one layer after another until none can be."""
        orders = list(start)
        for _ in range(_ROUNDS):
            changed = False
            for place in range(len(orders)):
                gain = self._entering(place, orders) + self._leaving(place, orders)
                order = _assigned(gain)
                new, old = (gain.gather(1, one[:, None]) for one in (order, orders[place]))
                if bool(new.sum() - old.sum() > _ROUNDING * (new.abs().sum() + old.abs().sum())):
                    orders[place], changed = order, True
            if not changed:
                break
        return orders

    def agreement(self, orders: Sequence[Order]) -> tuple[float, float]:
        """Give Σ ⟨A, P B Pᵀ⟩, and the same of absolute values."""
        terms = [self.a[name] * self._moved(name, place, orders) for place, name in self._names()]
        return sum(float(term.sum()) for term in terms), sum(float(term.abs().sum()) for term in terms)

    def _names(self) -> list[tuple[int, str]]:
        last = len(self.places)
        own = [(place, name) for place, one in enumerate(self.places) for name in one.entering]
        return [*own, *((last, one.leaving) for one in self.places[-1:])]

    def _moved(self, name: str, place: int, orders: Sequence[Order]) -> Tensor:
        """Give a tensor of b that enters the units of a place, in the orders on both of its sides."""
        tensor = self._inputs_moved(name, place, orders)
        return permuted(tensor, 0, orders[place]) if place < len(self.places) else tensor

    def _inputs_moved(self, name: str, place: int, orders: Sequence[Order]) -> Tensor:
        below = place > 0 and self.places[place - 1].leaving == name
        return permuted(self.b[name], 1, orders[place - 1]) if below else self.b[name]

    def _entering(self, place: int, orders: Sequence[Order]) -> Float[Tensor, "unit unit"]:
        count = self.places[place].count
        products = [
            self.a[name].view(count, -1) @ self._inputs_moved(name, place, orders).reshape(count, -1).T
            for name in self.places[place].entering
        ]
        return torch.stack(products).sum(0)

    def _leaving(self, place: int, orders: Sequence[Order]) -> Float[Tensor, "unit unit"]:
        one = self.places[place]
        above = self.b[one.leaving]
        if place + 1 < len(self.places):
            above = permuted(above, 0, orders[place + 1])
        mine, theirs = (
            tensor.reshape(len(tensor), one.count, -1).transpose(0, 1).flatten(1)
            for tensor in (self.a[one.leaving], above)
        )
        return mine @ theirs.T


def _assigned(gain: Float[Tensor, "unit unit"]) -> Order:
    _, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    return torch.as_tensor(columns)
