"""The data of a loss surface: batches of any sizes, the same each time they are read, each example once.

Tensors and lists are used as they are, and refused once they are written into. What an iterable yields is copied, as it
may fill one buffer again. A loader that shuffles is read in the order of its data set; one that drops or augments
examples is refused.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler

from bathymetry.core.errors import InputError
from bathymetry.core.randomness import preserve_rng_state
from bathymetry.core.showing import kind_of
from bathymetry.data import Data, Examples

_OTHER_SEED = 2_718_281_828  # that nobody else is likely to use
_LOADED_BYTES = 2**30  # of a loader's batches that are kept rather than read again


@dataclass(frozen=True)
class Batch:
    """Some examples: the inputs of the network, and what the loss takes besides its output."""

    inputs: Any  # a tensor, or a tuple or mapping of arguments
    targets: tuple[Any, ...]  # none in a batch that is a mapping, or that holds nothing but inputs
    rows: int

    @property
    def target(self) -> Any:
        """The first target; None if there is none."""
        return self.targets[0] if self.targets else None

    @property
    def whole(self) -> Any:
        """The batch as the user gave it: the mapping, or (inputs, *targets)."""
        return self.inputs if isinstance(self.inputs, Mapping) and not self.targets else (self.inputs, *self.targets)

    def tensors(self) -> list[Tensor]:
        """List the tensors of the inputs, then those of the targets."""
        return [*tensors_of(self.inputs), *tensors_of(self.targets)]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply a function to every tensor."""
        return Batch(map_tensors(self.inputs, change), map_tensors(self.targets, change), self.rows)

    def spread(self, rows: int) -> "Batch":
        """Take at most so many examples, spread over the batch."""
        return self if self.rows <= rows else self.take(torch.linspace(0, self.rows - 1, rows).round().long())

    def take(self, positions: Tensor) -> "Batch":
        """Take the examples at some positions."""
        some = self.map(lambda one: one[positions.to(one.device)] if self._has_rows(one) else one)
        return replace(some, rows=len(positions))

    def split(self, rows: int) -> "Iterator[Batch]":
        """Cut the batch into batches of at most so many consecutive examples."""
        for start in range(0, self.rows, rows):
            piece = self.map(lambda one, at=start: one[at : at + rows] if self._has_rows(one) else one)  # type: ignore[misc]
            yield replace(piece, rows=min(rows, self.rows - start))

    def _has_rows(self, tensor: Tensor) -> bool:
        # a sparse matrix among the inputs, such as a graph's, can't be cut and belongs to all examples
        return tensor.ndim > 0 and len(tensor) == self.rows and tensor.layout == torch.strided


class Batches:
    """Batches that can be read again and again, always the same, of any data that `LossSurface` takes."""

    def __init__(self, data: Any) -> None:
        if isinstance(data, Data):
            data = data.train
        if isinstance(data, Examples):
            data = (data.x, data.y)
        self.is_shuffled = False
        self._loader: DataLoader[Any] | None = None  # read again each time
        self.kept: list[Batch] | None = None  # all batches, unless a loader's are too many to keep
        if isinstance(data, DataLoader):
            self._loader, self.is_shuffled = _in_order_of_the_data_set(data)
            self.kept, sizes = _read_twice(self._loader)
        else:
            self.kept = [batch for batch in map(_batch, _raw_batches(data)) if batch.rows > 0]
            sizes = [batch.rows for batch in self.kept]
            _refuse_shared_memory(self.kept)
        tensors = [tensor for batch in self.kept or [] for tensor in batch.tensors()]
        self._tensors = [tensor for tensor in tensors if not tensor.is_inference()]
        self._versions = list(map(attrgetter("_version"), self._tensors))
        self.num_examples, self.count = sum(sizes), len(sizes)
        if self.num_examples == 0:
            raise InputError("data", "no batch or no example", "expected at least one example")
        self.first = next(iter(self))

    def __iter__(self) -> Iterator[Batch]:
        self.check_unchanged()
        if self.kept is not None:
            return iter(self.kept)
        assert self._loader is not None
        return (batch for batch in map(_batch, _read(self._loader)) if batch.rows > 0)

    def check_unchanged(self) -> None:
        """Refuse data that were written into."""
        if list(map(attrgetter("_version"), self._tensors)) != self._versions:
            remedy = "make a new surface, or make it of copies (x.clone())"
            raise InputError("data", "tensors that were written into since the surface was made", remedy)


def _raw_batches(data: Any) -> list[Any]:
    """List batches as the user gave them: a pair of tensors is one batch, a list of pairs several."""
    parts = data if isinstance(data, tuple | list) else ()
    if (isinstance(data, Mapping) and tensors_of(data)) or any(isinstance(part, Tensor) for part in parts):
        return [data]
    if type(data) in (list, tuple):
        return list(data)
    if isinstance(data, Iterable) and not isinstance(data, Tensor | Mapping | str):
        return [_copied(raw) for raw in data]  # it may fill one buffer again and again
    raise InputError("data", type(data).__name__, _expected(data))


def _expected(data: Any) -> str:
    if isinstance(data, Dataset):
        return "expected DataLoader(data, batch_size=…), which makes batches of it"
    if hasattr(data, "__array__") and not isinstance(data, Tensor):
        return "expected tensors, torch.as_tensor(x), as (inputs, targets)"
    if isinstance(data, Tensor):
        return "expected (inputs, targets); for a loss of the outputs alone (inputs,), a tuple of one"
    return "expected (inputs, targets) as tensors, or an iterable of such batches"


def _batch(raw: Any) -> Batch:
    """Check a batch as the user gave it."""
    if not isinstance(raw, Mapping) and not (isinstance(raw, tuple | list) and raw):
        raise InputError("data", f"a batch that is {kind_of(raw)}", _expected(raw))
    inputs, targets = (raw, ()) if isinstance(raw, Mapping) else (raw[0], tuple(raw[1:]))
    of_inputs, of_targets = tensors_of(inputs), tensors_of(targets)
    if not of_inputs:
        raise InputError("data", f"inputs that are {kind_of(inputs)}", _expected(inputs))
    if of_inputs[0].layout != torch.strided or of_inputs[0].is_nested:
        raise InputError("data", "inputs that are sparse or nested", "expected a dense tensor: x.to_dense()")
    if any(tensor.is_meta for tensor in [*of_inputs, *of_targets]):
        raise InputError("data", "a tensor on the meta device", "it has no numbers: expected one on a real device")
    numbers = any(isinstance(target, int | float) for target in targets)
    alone = (numbers or bool(of_targets)) and not any(tensor.ndim for tensor in of_targets)
    if alone or not any(tensor.ndim for tensor in of_inputs):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in [*of_inputs, *of_targets])
        remedy = "the first axis is the example: expected DataLoader(dataset, batch_size=32), or (x[None], y[None])"
        raise InputError("data", f"single examples without a batch axis, of shapes {shapes}", remedy)
    if any(tensor.ndim == 0 for tensor in of_inputs) and not isinstance(inputs, Mapping):
        raise InputError("data", "inputs without an axis", "expected the example as the first axis")
    rows = next(len(tensor) for tensor in of_inputs if tensor.ndim)
    for tensor in of_targets:
        if tensor.ndim > 0 and len(tensor) != rows:
            remedy = "expected one target for each input; of a single example, (x[None], y[None])"
            raise InputError("data", f"{rows} inputs and {len(tensor)} targets", remedy)
    return Batch(inputs, targets, rows)


def _refuse_shared_memory(batches: list[Batch]) -> None:
    """Refuse batches whose inputs all lie in the same memory, as in a buffer filled again for each; warn of targets."""

    def dense(tree: Any) -> list[Tensor]:
        return [tensor for tensor in tensors_of(tree) if tensor.layout == torch.strided and tensor.numel()]

    first: dict[Any, int] = {}  # the batch in which some memory occurs first
    for number, batch in enumerate(batches):
        memory = tuple(tensor.data_ptr() for tensor in dense(batch.inputs))
        if memory and first.setdefault(memory, number) != number:
            which = f"batches {first[memory]} and {number}, whose inputs share their memory"
            raise InputError("data", which, "it holds the last batch alone: expected a copy of each, x.clone()")
        for target in dense(batch.targets):
            varies = bool((target != target.flatten()[0]).any())  # a constant may well be shared
            where = target.data_ptr(), target.shape
            if varies and first.setdefault(where, number) != number:  # or two inputs have one target
                which = f"Batches {first[where]} and {number} share the memory of their targets"
                warnings.warn(f"{which}; if it was filled again for each, expected copies, y.clone().", stacklevel=4)


def _in_order_of_the_data_set(loader: "DataLoader[Any]") -> tuple["DataLoader[Any]", bool]:
    """Read a loader that shuffles in the order of its data set: a sum over all examples needs no other."""
    sampler = loader.batch_sampler
    if type(sampler) is not BatchSampler or type(loader).__iter__ is not DataLoader.__iter__:
        return loader, False
    examples, order = sampler.sampler, None
    if isinstance(examples, SubsetRandomSampler):
        order = sorted(examples.indices)
    elif isinstance(examples, RandomSampler):
        order = list(range(len(loader.dataset)))  # type: ignore[arg-type]
        if examples.replacement or examples.num_samples != len(order):
            what = "a DataLoader that draws examples with replacement, or a part of them"
            raise InputError("data", what, "expected one that reads each example once, such as shuffle=False")
    counted: Any = loader.dataset if isinstance(loader.dataset, IterableDataset) else examples
    dropped = len(counted) % sampler.batch_size if sampler.drop_last and isinstance(counted, Sized) else 0
    if dropped:
        raise InputError(
            "data", f"a DataLoader that drops {dropped} of {len(counted)} examples", "expected drop_last=False"
        )
    if order is None:
        return loader, False
    options = ("num_workers", "collate_fn", "timeout", "worker_init_fn", "multiprocessing_context", "generator")
    same: dict[str, Any] = {name: getattr(loader, name) for name in options}
    ordered = BatchSampler(order, sampler.batch_size, drop_last=False)
    return DataLoader(loader.dataset, batch_sampler=ordered, **same), True


def _read_twice(loader: "DataLoader[Any]") -> tuple[list[Batch] | None, list[int]]:
    """Check that a loader yields the same batches each time; give them, if not too many to keep, and their sizes."""
    kept: list[Batch] = []
    sizes, fingerprints, size = [], [], 0
    for raw in _read(loader):
        batch = _batch(raw)
        fingerprints.append(_fingerprint(batch))
        sizes += [batch.rows] if batch.rows else []
        size += sum(tensor.nbytes for tensor in batch.tensors())
        if size > _LOADED_BYTES:
            kept.clear()
        elif batch.rows:
            kept.append(_batch(_copied(raw)))
    if [_fingerprint(_batch(raw)) for raw in _read(loader, seed=_OTHER_SEED)] != fingerprints:
        remedy = "expected one without random augmentation, whose sampler has a fixed order or shuffles"
        raise InputError("data", "a DataLoader whose second pass differs from its first", remedy)
    return (kept if size <= _LOADED_BYTES else None), sizes


def _read(loader: "DataLoader[Any]", seed: int | None = None) -> Iterator[Any]:
    """Read a loader without a change of random states, between two batches too; a seed changes what is drawn."""
    generator = loader.generator
    own = None if generator is None else generator.get_state()
    try:
        with preserve_rng_state(seed):
            batches = iter(loader)
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


def _copied(raw: Any) -> Any:
    return map_tensors(raw, lambda tensor: tensor.detach().clone())


def tensors_of(tree: Any) -> list[Tensor]:
    """List all tensors in a tree of tuples, lists and mappings, in their order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to all tensors in a tree of tuples, lists and mappings."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(part, change) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(map_tensors(part, change) for part in tree)
    return tree
