"""The data of a loss surface on its network's device and in its dtype, in parts that fit into memory."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.derivatives import Derivatives
from bathymetry.surface.selection import Points

GRAPHS = 5  # the graph of a gradient keeps about this many times what a forward pass does
_VECTORS = 3  # and about this many vectors of the length of θ


class Parts:
    """Batches that move once, if copies fit into `max_bytes`, and are cut as far as the network takes parts of them."""

    def __init__(self, batches: Batches, derivatives: Derivatives, max_bytes: int) -> None:
        self.batches, self.max_bytes = batches, max_bytes
        self.derivatives, self._network, self._criterion = derivatives, derivatives.network, derivatives.criterion
        self._parameter = next(iter(derivatives.selection.shapes))
        self._device: torch.device | None = None  # of the moved batches
        self._moved: list[Batch] | None = None
        self._weighted: dict[tuple[Any, ...], list[tuple[float, Batch]]] = {}  # of the moved batches
        self._for_products: dict[tuple[Any, ...], tuple[bool, list[tuple[float, Batch, int]]]] = {}
        self._total_weight: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._network.module.get_parameter(self._parameter).device

    @property
    def total_weight(self) -> float:
        """By how much the weighted sum over batches is divided: 1 for a loss that is a sum."""
        if self._total_weight is None:
            weights = [self._criterion.weight(batch.targets, batch.rows) for batch in self.batches]
            self._total_weight = sum(weights) if self._criterion.is_mean else 1.0
            if self._total_weight <= 0:
                weight = f"targets that weigh {self._total_weight:g} in all"
                raise InputError("data", weight, "expected targets that the loss counts")
        return self._total_weight

    def weighted(self, points: Points, copies: int) -> Iterable[tuple[float, Batch]]:
        """Cut the data into (share of the loss, part), for so many copies of the activations of each member."""
        key = len(points), copies, points.device, self._network.couples_examples
        self.batches.check_unchanged()
        if key in self._weighted:
            return self._weighted[key]
        weight = self._criterion.weight
        parts = ((weight(part.targets, part.rows) / self.total_weight, part) for part in self.cut(points, copies))
        if self._on(points.device) is self.batches:
            return parts
        self._weighted[key] = list(parts)
        return self._weighted[key]

    def for_products(self, points: Points) -> tuple[bool, Iterable[tuple[float, Batch, int]]]:
        """Cut the data into (share of the loss, part, vectors at once); also whether all fit into memory together."""
        key = len(points), points.device, self._network.couples_examples
        self.batches.check_unchanged()
        if key in self._for_products:
            return self._for_products[key]
        room, batches = self.max_bytes // 2, self._on(points.device)
        needed = sum(batch.rows * self.bytes_per_example(points, batch) * GRAPHS for batch in batches)
        needed += (self.batches.count - 1) * _VECTORS * points.nbytes  # besides those of the first

        def parts() -> Iterator[tuple[float, Batch, int]]:
            for share, part in self.weighted(points, GRAPHS if needed <= room else 2 * GRAPHS):
                if share > 0:  # a part that weighs nothing may well have a loss of 0/0
                    each = part.rows * self.bytes_per_example(points, part) + points.nbytes
                    yield share, part, max(1, room // (3 * each))

        if batches is self.batches:
            return needed <= room, parts()
        self._for_products[key] = needed <= room, list(parts())
        return self._for_products[key]

    def cut(self, points: Points, copies: int, at_least: int = 1) -> Iterator[Batch]:
        """Cut the data into parts of at least so many examples."""
        rows: int | None = None
        for batch in self._on(points.device):
            if rows is None:
                rows = max(at_least, self._rows_at_once(points, batch, copies))
            yield from map(self.place, batch.split(rows) if rows < batch.rows else [batch])

    def bytes_per_example(self, points: Points, batch: Batch) -> int:
        """Measure what one example of all members keeps in memory for a backward pass."""
        few = batch if self._network.couples_examples else next(batch.split(2))
        return len(points) * self.derivatives.bytes_per_example(points, self.place(few))

    def place(self, batch: Batch) -> Batch:
        """Bring a batch to the network's device and the dtype that is computed in."""
        device = self.device
        return batch.map(lambda tensor: self._network.cast(tensor.detach().to(device)))

    def _rows_at_once(self, points: Points, batch: Batch, copies: int) -> int:
        if not self._network.couples_examples:
            try:
                return max(1, self.max_bytes // (self.bytes_per_example(points, batch) * copies))
            except InputError:  # it takes no part of a batch
                pass
        return self.batches.num_examples

    def _on(self, device: torch.device) -> Iterable[Batch]:
        """Give the batches on a device if copies fit into max_bytes, else as they are."""
        if device != self._device:
            self._device, self._moved, self._weighted, self._for_products = device, None, {}, {}
            self._criterion.to(device)
            kept = self.batches.kept
            if kept is not None and sum(map(self._copied_bytes, kept)) <= self.max_bytes:
                self._moved = [self.place(batch) for batch in kept]
        return self.batches if self._moved is None else self._moved

    def _copied_bytes(self, batch: Batch) -> int:
        """Compute the size of the copies that `place` makes."""
        size = 0
        for tensor in batch.tensors():
            dtype = self._network.cast(torch.empty(0, dtype=tensor.dtype)).dtype
            if dtype != tensor.dtype or tensor.device != self._device:
                size += tensor.numel() * dtype.itemsize
        return size
