"""The data of a loss surface: batches in an order that stays, each example once.

A loss surface is one function, so what it is measured on must not change between two evaluations. Tensors and lists
are used as they are, and refused once they are written into; what an iterable gives is copied, as it may fill one
buffer again and again; a loader is read twice and refused, with the reason, if it shuffles, drops or augments.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from bathymetry.core.errors import InputError
from bathymetry.data import Data, Examples
from bathymetry.surface.randomness import preserve_rng_state

_REFILLED = "one buffer that is filled anew keeps the last batch alone: expected a copy of each, x.clone()"
_OTHER = 2_718_281_828  # a seed that nobody else is likely to use
_KEPT = 2**30  # bytes of a loader's batches that are kept rather than read again


@dataclass(frozen=True)
class Batch:
    """Some examples: what goes into the network, and what the loss gets beside its output."""

    inputs: Any  # a tensor, or a tuple or mapping of arguments
    targets: tuple[Any, ...]  # none in a batch that is a mapping, or that holds nothing but inputs
    rows: int

    @property
    def whole(self) -> Any:
        """What the user gave as one batch: the mapping, or (inputs, *targets)."""
        return self.inputs if isinstance(self.inputs, Mapping) and not self.targets else (self.inputs, *self.targets)

    def tensors(self) -> list[Tensor]:
        """List all tensors in it.

        Returns:
            Inputs, then targets.
        """
        return [*tensors_of(self.inputs), *tensors_of(self.targets)]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Change every tensor in it.

        Args:
            change: What to do with a tensor.

        Returns:
            A new batch.
        """
        return Batch(_map(self.inputs, change), _map(self.targets, change), self.rows)

    def spread(self, rows: int) -> "Batch":
        """Take a few examples from all over it.

        Args:
            rows: How many, at most.

        Returns:
            A batch of them, in their order; itself if it has no more.
        """
        if self.rows <= rows:
            return self
        chosen = torch.linspace(0, self.rows - 1, rows).round().long()
        return self.take(chosen)

    def take(self, chosen: Tensor) -> "Batch":
        """Take some examples.

        Args:
            chosen: Their positions.

        Returns:
            A batch of them.
        """
        some = self.map(lambda one: one[chosen.to(one.device)] if _has_rows(one, self.rows) else one)
        return replace(some, rows=len(chosen))

    def split(self, rows: int) -> "Iterator[Batch]":
        """Cut it into smaller ones.

        Args:
            rows: The most examples that one may have.

        Yields:
            Batches of consecutive examples.
        """
        for start in range(0, self.rows, rows):
            piece = self.map(lambda one, at=start: one[at : at + rows] if _has_rows(one, self.rows) else one)  # type: ignore[misc]
            yield Batch(piece.inputs, piece.targets, min(rows, self.rows - start))


class Batches:
    """Batches that can be read again and again, always the same.

    Args:
        data: (inputs, targets) as tensors, (inputs,) without targets, or a mapping of tensors; an iterable of such
            batches, of any sizes; a DataLoader; or examples as `bm.load` gives them, whose training set is meant.

    Raises:
        InputError: If there is no example, or what the batches hold can't be used or does not stay.
    """

    def __init__(self, data: Any) -> None:
        self._source: Iterable[Any]
        if isinstance(data, Data):
            data = data.train
        if isinstance(data, Examples):
            data = (data.x, data.y)
        if isinstance(data, DataLoader):
            self._source = _steady(data)
        elif _is_batch(data):
            self._source = [data]
        elif type(data) in (list, tuple):
            self._source = list(data)
        elif isinstance(data, Iterable) and not isinstance(data, Tensor | Mapping | str):
            self._source = [_copied(raw) for raw in data]  # it may fill one buffer again and again
        else:
            raise InputError("data", type(data).__name__, _expected(data))
        _refuse_shared_memory(self._source)
        self._versions = _versions(self._source)
        first = next(iter(self), None)
        if first is None:
            raise InputError("data", "no batch", "give at least one example")
        self.first = first
        rows = [batch.rows for batch in self]
        self.num_examples, self.count = sum(rows), len(rows)
        if self.num_examples == 0:
            raise InputError("data", "no example", "give at least one example")

    def __iter__(self) -> Iterator[Batch]:
        if self._versions != _versions(self._source):
            remedy = "make a new surface, or give it copies (x.clone()) when you make it"
            raise InputError("data", "tensors that were written into since the surface was made", remedy)
        for raw in _without_stirring(self._source):
            batch = _batch(raw if isinstance(self._source, list) else _copied(raw))
            if batch.rows > 0:
                yield batch


def _is_batch(data: Any) -> bool:
    # A pair of tensors is one batch; a list of pairs is several.
    if isinstance(data, Mapping):
        return bool(tensors_of(data))
    return isinstance(data, tuple | list) and any(isinstance(part, Tensor) for part in data)


def _expected(data: Any) -> str:
    if isinstance(data, Dataset):
        return "expected DataLoader(data, batch_size=…), which makes batches of it"
    if hasattr(data, "__array__") and not isinstance(data, Tensor):
        return "expected tensors, torch.as_tensor(x), as (inputs, targets)"
    if isinstance(data, Tensor):
        return "expected (inputs, targets); for a loss of the outputs alone (inputs,), a tuple of one"
    return "expected (inputs, targets) as tensors, or an iterable of such batches"


def _batch(raw: Any) -> Batch:
    targets: tuple[Any, ...] = ()
    if isinstance(raw, Mapping):
        inputs: Any = raw
    elif isinstance(raw, tuple | list) and raw:
        inputs, targets = raw[0], tuple(raw[1:])
    else:
        raise InputError("data", f"a batch that is a {type(raw).__name__}", _expected(raw))
    found = tensors_of(inputs)
    if not found:
        raise InputError("data", f"inputs that are a {type(inputs).__name__}", _expected(inputs))
    if found[0].layout != torch.strided or found[0].is_nested:
        raise InputError("data", "inputs that are sparse or nested", "expected a dense tensor: x.to_dense()")
    for tensor in [*found, *tensors_of(targets)]:
        if tensor.is_meta:
            raise InputError("data", "a tensor on the meta device", "it has no numbers: expected one on a real device")
    of_targets = tensors_of(targets)
    numbers = any(isinstance(target, int | float) for target in targets)
    alone = (numbers or bool(of_targets)) and not any(tensor.ndim for tensor in of_targets)
    if alone or not any(tensor.ndim for tensor in found):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in [*found, *of_targets])
        remedy = (
            "a batch's first axis is the example: expected DataLoader(dataset, batch_size=32), or (x[None], y[None])"
        )
        raise InputError("data", f"single examples without a batch axis, of shapes {shapes}", remedy)
    if any(tensor.ndim == 0 for tensor in found) and not isinstance(inputs, Mapping):
        raise InputError("data", "inputs without an axis", "the first axis must be the example")
    rows = next(len(tensor) for tensor in found if tensor.ndim)
    for tensor in of_targets:
        if tensor.ndim > 0 and len(tensor) != rows:
            shapes = f"{rows} inputs and {len(tensor)} targets"
            remedy = "give one target for each input; a single example needs a batch axis, (x[None], y[None])"
            raise InputError("data", shapes, remedy)
    return Batch(inputs, targets, rows)


def _copied(raw: Any) -> Any:
    return _map(raw, lambda tensor: tensor.detach().clone())


def _versions(source: Iterable[Any]) -> list[int]:
    """Give PyTorch's count of how often each tensor was written into; of a loader that is read anew, nothing."""
    if not isinstance(source, list):
        return []
    return [tensor._version for tensor in tensors_of(source) if not tensor.is_inference()]


def _refuse_shared_memory(source: Iterable[Any]) -> None:
    """Refuse a list of batches whose inputs all lie at one place: a buffer that was filled anew for each."""
    if not isinstance(source, list):
        return
    seen: dict[tuple[int, ...], int] = {}
    targets: dict[tuple[int, tuple[int, ...]], int] = {}
    for number, raw in enumerate(source):
        inputs = tensors_of(raw if isinstance(raw, Mapping) else raw[:1] if isinstance(raw, tuple | list) else ())
        places = tuple(one.data_ptr() for one in inputs if one.layout == torch.strided and one.numel())
        if places and seen.setdefault(places, number) != number:
            which = f"batches {seen[places]} and {number}, whose inputs share their memory"
            raise InputError("data", which, _REFILLED)
        for target in tensors_of(raw[1:]) if isinstance(raw, tuple | list) else ():
            dense = target.layout == torch.strided and target.ndim > 0 and target.numel() > 0
            varies = dense and bool((target != target.flatten()[0]).any())  # a constant may well be shared
            place = (target.data_ptr(), tuple(target.shape))
            if varies and targets.setdefault(place, number) != number:  # or two inputs have one target
                told = f"Batches {targets[place]} and {number} share the memory of their targets; if it was filled anew"
                warnings.warn(f"{told} for each, expected copies, y.clone().", UserWarning, stacklevel=4)


def _steady(loader: "DataLoader[Any]") -> Iterable[Any]:
    """Check that a loader gives the same batches each time, and keep them if they are not too many."""
    if isinstance(loader.sampler, RandomSampler):
        raise InputError("data", "a DataLoader with shuffle=True", "give one with a fixed order: shuffle=False")
    dataset = loader.dataset
    if loader.drop_last and isinstance(dataset, Sequence | torch.utils.data.Dataset) and hasattr(dataset, "__len__"):
        dropped = len(dataset) % (loader.batch_size or 1)
        if dropped:
            remedy = "give one with drop_last=False, so that every example counts"
            raise InputError("data", f"a DataLoader that drops {dropped} of {len(dataset)} examples", remedy)
    kept: list[Any] | None = []
    first, size = [], 0
    for raw in _without_stirring(loader):
        batch = _batch(raw)
        first.append(_fingerprint(batch))
        size += sum(tensor.nbytes for tensor in batch.tensors())
        kept = [*kept, _copied(raw)] if kept is not None and size <= _KEPT else None
    if [_fingerprint(_batch(raw)) for raw in _without_stirring(loader, seed=_OTHER)] != first:
        remedy = "give one without shuffling or random augmentation"
        raise InputError("data", "a DataLoader whose second pass differs from its first", remedy)
    return loader if kept is None else kept


def _without_stirring(source: Iterable[Any], seed: int | None = None) -> Iterator[Any]:
    # A DataLoader draws from PyTorch's random state whenever it is opened, and a data set may draw from any: all are
    # left as they were, between two batches too. With a seed, what is random comes out otherwise than it did before.
    if isinstance(source, list):
        yield from source
        return
    generator = getattr(source, "generator", None)
    own = None if generator is None else generator.get_state()
    try:
        with preserve_rng_state(seed):
            batches = iter(source)
        while True:
            with preserve_rng_state(seed):
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch
    finally:
        if generator is not None:
            generator.set_state(own)


def _fingerprint(batch: Batch) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in batch.tensors():
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
        digest.update(dense.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def tensors_of(tree: Any) -> list[Tensor]:
    """List all tensors in a tree of tuples, lists and mappings, in their order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def _map(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _map(part, change) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(_map(part, change) for part in tree)
    return tree


def _has_rows(tensor: Tensor, rows: int) -> bool:
    # a sparse matrix beside the inputs, such as a graph's, can't be cut and belongs to all of them
    return tensor.ndim > 0 and len(tensor) == rows and tensor.layout == torch.strided
