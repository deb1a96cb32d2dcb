"""Members of an ensemble: built under their own random streams, stacked, and checked on a few examples."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.randomness import preserve_rng_state, seed_generators, stream_seed
from bathymetry.core.showing import kind_of, readable
from bathymetry.core.system import check_memory, free_bytes
from bathymetry.core.tensors import unwrapped
from bathymetry.data.examples import Examples
from bathymetry.training.loss import Criterion

_COPIES = 7  # of every parameter: two networks, the stack, its gradients, two moments, and the result
_OBJECT_BYTES = 3_000  # Python's overhead per layer or tensor
LANES = 16  # of the widest vectors, in float32; half as many are a cache line in float64
_FEW = 8  # examples that network and loss are called with before training
TRIAL_ERRORS = (RuntimeError, IndexError, ValueError, TypeError, AttributeError, AssertionError)
SAME_START = "; for copies of one start, set same_start=True"  # advice, where there is such a field
_WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@readable
class StackedTensors:
    """Named tensors of every member, in one buffer with zeros between them.

    Kernels compute the last entries of a range, and products the last rows or what is not aligned, by instructions that
    round differently. So that a member's numbers do not depend on its place, each block begins on a cache line and ends
    with whole vectors: the rows of all members together are a multiple of sixteen, or each member's entries are.
    """

    flat: Float[Tensor, " entry"]  # one block per name
    views: Mapping[str, Tensor] = field(repr=False)  # name → (member, *shape), views into `flat`
    blocks: Mapping[str, Tensor] = field(repr=False)  # name → (member, entry), with the zeros after each member's
    members: int

    @staticmethod
    def of(
        tensors: Sequence[Mapping[str, Tensor]], dtype: torch.dtype, device: torch.device, *, dense: bool = False
    ) -> "StackedTensors":
        """Copy the tensors of every member, which have the same names and shapes; `dense` without zeros between."""
        members, shapes = len(tensors), {name: tensor.shape for name, tensor in tensors[0].items()}
        sizes = {name: prod(shape) if dense else whole_vectors(prod(shape)) for name, shape in shapes.items()}
        entries = {name: members * size for name, size in sizes.items()}
        if dense:
            entries = {n: whole_vectors(members * prod(shape[:1])) * prod(shape[1:]) for n, shape in shapes.items()}
        flat, start = torch.zeros(sum(entries.values()), dtype=dtype, device=device), 0
        views, blocks = {}, {}
        for name, shape in shapes.items():
            blocks[name] = flat[start : start + members * sizes[name]].view(members, sizes[name])
            own = blocks[name][:, : prod(shape)]
            views[name] = torch.unflatten(own, 1, shape) if shape else own[:, 0]
            start += entries[name]
        for position, member in enumerate(tensors):
            for name, tensor in member.items():
                views[name][position].copy_(tensor.detach())
        return StackedTensors(flat, views, blocks, members)

    def zeros_like(self) -> "StackedTensors":
        """Zeros in a buffer of their own, with the same layout."""
        flat = torch.zeros_like(self.flat)

        def same(views: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: flat.as_strided(one.shape, one.stride(), one.storage_offset()) for n, one in views.items()}

        return StackedTensors(flat, same(self.views), same(self.blocks), self.members)

    def part(self, place: slice) -> "StackedTensors":
        """Views of some members' tensors, in the same buffer."""
        if place == slice(0, self.members):
            return self
        views, blocks = ({n: one[place] for n, one in of.items()} for of in (self.views, self.blocks))
        return StackedTensors(self.flat, views, blocks, len(range(*place.indices(self.members))))

    def member(self, position: int) -> dict[str, Tensor]:
        """Views of one member's tensors by name."""
        return {name: view[position] for name, view in self.views.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy stacked tensors into the buffer."""
        for name, view in self.views.items():
            view.copy_(tensors[name])

    def copied(self) -> dict[str, Tensor]:
        """Copies of the stacked tensors by name."""
        return {name: view.clone(memory_format=torch.contiguous_format) for name, view in self.views.items()}

    def vectors(self) -> Float[Tensor, "member parameter"]:
        """Each member's tensors as one row, in the order of `nn.Module.parameters()`; a copy."""
        return torch.cat([view.reshape(self.members, -1) for view in self.views.values()], dim=1)


def whole_vectors(count: int) -> int:
    """The least number from `count` on that is one of whole vectors."""
    return -(-count // LANES) * LANES


def flush_denormals(values: Tensor, times: float) -> None:
    """Set to zero, in place, numbers below `times` the smallest normal one: processors are slow on denormal numbers."""
    torch.hardshrink(values, lambd=times * torch.finfo(values.dtype).tiny, out=values)


@readable
class EvaluationSet:
    """Examples to evaluate on, optionally with separate targets for each member.

    Args:
        examples: The examples.
        own_targets: Targets of every member, (member, example, *target); None if all share those of the examples.
    """

    examples: Examples
    own_targets: Shaped[Tensor, "member example *target"] | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> "EvaluationSet":
        """Move inputs and targets; real targets become `dtype`, whole numbers int64."""

        def moved(targets: Tensor) -> Tensor:
            kind = dtype if targets.is_floating_point() else torch.bool if targets.dtype == torch.bool else torch.int64
            return targets.detach().to(device, kind)

        examples, own = self.examples, self.own_targets
        placed = Examples(examples.inputs.detach().to(device), moved(examples.targets), examples.scale)
        return EvaluationSet(placed, None if own is None else moved(own))

    def targets(self, members: int, rows: slice | Tensor = slice(None)) -> Shaped[Tensor, "member row *target"]:
        """Targets of some rows for every member; `rows` is a slice, or a row of positions per member."""
        own, shared = self.own_targets, self.examples.targets
        if isinstance(rows, slice):
            return shared[rows].expand(members, *shared[rows].shape) if own is None else own[:, rows]
        return shared[rows] if own is None else own[torch.arange(members, device=own.device)[:, None], rows]


@dataclass(frozen=True)
class Ensemble:
    """Networks of one architecture, their stacked tensors, and the loss that they are trained with."""

    members: Sequence[tuple[int, int]]  # seed and number of each
    modules: Sequence[nn.Module]
    parameters: StackedTensors
    gradients: StackedTensors
    criterion: Criterion
    formula: str | None  # "mse" or "cross_entropy" if the loss is just that on all targets
    activations: Sequence[str] | None  # after each layer but the last, if they are perceptrons to train as one stack

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.parameters.flat.dtype


@contextmanager
def refusing(field: str, value: object, problem: str, expected: str) -> Iterator[None]:
    """Turn an exception inside the block into one sentence about a field."""
    try:
        yield
    except Exception as error:
        raise InputError(field, value, f"{problem} ({first_line(error)}); {expected}") from error


def build_members(
    build: Callable[[], nn.Module], members: range, seed: int, *, same_start: bool = False
) -> list[nn.Module]:
    """Build each member under its own random stream; returns copies in training mode."""
    built: list[nn.Module] = []  # none is freed before they are compared: its address could look shared
    with preserve_rng_state():
        for member in members:
            seed_generators(stream_seed(seed, member, "initialisation"))
            built.append(built_by(build))
            if len(built) == 1:
                _check_size(built[0], len(members))
    shapes = [_shapes(module) for module in built]
    if any(one != shapes[0] for one in shapes):
        value = "a function that makes networks of different shapes"
        raise InputError("build", value, "expected the same architecture each time")
    if not any(p.requires_grad for p in built[0].parameters()):
        value = f"a function that returns {kind_of(built[0])}"
        raise InputError("build", value, "expected a network with trainable parameters")
    if not same_start:
        _check_starts(built, members)
    return [_copied(module).train() for module in built]


def _copied(network: nn.Module) -> nn.Module:
    with refusing("build", type(network).__name__, "it can't be copied", "expected a network that copy.deepcopy takes"):
        return copy.deepcopy(network)


def built_by(build: Callable[[], nn.Module]) -> nn.Module:
    """Call what makes a network, and refuse what it makes if it is none."""
    name = getattr(build, "__name__", build)
    expected = "expected a function that makes one network"
    with refusing("build", name, "it fails when it is called without arguments", expected):
        module = build()
    if not isinstance(module, nn.Module):
        raise InputError("build", f"a function that returns {kind_of(module)}", "expected one that makes an nn.Module")
    for layer in module.modules():
        if inside := _WRAPPERS.get(type(layer).__name__):
            remedy = f"members are trained together without it; expected the network inside, its `.{inside}`"
            raise InputError("build", kind_of(layer), remedy)
    return unwrapped(module, "build")


def _shapes(module: nn.Module) -> dict[str, tuple[object, ...]]:
    parameters = {name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()}
    return {**parameters, **{f"buffer {name}": tuple(buffer.shape) for name, buffer in module.named_buffers()}}


def _check_size(first: nn.Module, members: int) -> None:
    tensors = _state(first)
    each = _COPIES * sum(one.nbytes for one in tensors) + _OBJECT_BYTES * len([*first.modules(), *tensors])
    most = free_bytes() // each
    what = f"networks of {sum(p.numel() for p in first.parameters()):,} parameters take about"
    remedy = f"expected at most {most:,}" if most else "expected a smaller network"
    check_memory("members", members, each * members, what, remedy)


def _check_starts(built: Sequence[nn.Module], members: range) -> None:
    """Refuse members that share a trainable tensor or begin with equal parameters and buffers."""

    def refusal(one: int, other: int, what: str) -> InputError:
        remedy = (
            "expected new random weights each time the function is called: build every layer inside it and set no seed "
            f"there{SAME_START}"
        )
        return InputError("build", f"a function whose networks {members[one]} and {members[other]} {what}", remedy)

    owners: dict[tuple[int, tuple[int, ...]], int] = {}
    starts: dict[tuple[object, ...], list[int]] = {}
    for place, module in enumerate(built):
        for name, parameter in module.named_parameters():
            owner = owners.setdefault((parameter.data_ptr(), tuple(parameter.shape)), place)
            if owner != place and parameter.requires_grad and parameter.numel():
                raise refusal(owner, place, f"share {name}")
        state = _state(module)
        same_sums = starts.setdefault(tuple(one.sum().item() for one in state), [])
        for other in same_sums:
            if all(map(torch.equal, state, _state(built[other]))):
                raise refusal(other, place, "begin with equal parameters")
        same_sums.append(place)


def constants(module: nn.Module) -> dict[str, Tensor]:
    """Frozen parameters and buffers by name."""
    frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
    return frozen | dict(module.named_buffers())


def _state(module: nn.Module) -> list[Tensor]:
    return [*(p.detach() for p in module.parameters()), *module.buffers()]


def check_fit(ensemble: Ensemble, sets: Mapping[str, EvaluationSet], batch_size: int | None) -> None:
    """Call network and loss on a few examples of each set, of which "train" is the training set."""
    for name, one in sets.items():
        _check_numbers(name, one, len(ensemble.members))
    own = _copied(ensemble.modules[0])
    with preserve_rng_state(), torch.no_grad():
        for name, one in sets.items():
            rows = _extreme_rows(one.examples.inputs)
            inputs = one.examples.scaled(one.examples.inputs[rows], ensemble.dtype)
            outputs = _outputs(own.eval(), inputs, name, len(one.examples))
            _check_targets(ensemble.criterion, outputs, one, rows, name)
        examples, count = sets["train"].examples, len(sets["train"].examples)
        if batch_size == 1 or (count % batch_size if batch_size else count) == 1:
            problem = "a batch has a single example, which the network can't take"
            with refusing("batch_size", batch_size, problem, "choose another"):
                own.train()(examples.scaled(examples.inputs[:1], ensemble.dtype))


def _check_numbers(name: str, one: EvaluationSet, members: int) -> None:
    own, count = one.own_targets, len(one.examples)
    if own is not None and own.shape[:2] != (members, count):
        remedy = f"expected ({members}, {count}, …): a row for each member"
        raise InputError("targets" if name == "train" else name, f"shape {tuple(own.shape)}", remedy)
    if count == 0:
        raise InputError(_field("x", name), "no example", "expected at least one")
    for letter, tensor in (("x", one.examples.inputs), ("y", one.examples.targets), ("y", own)):
        if tensor is not None and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            wrong = int((~tensor.isfinite()).sum())
            value = f"{wrong} numbers of {tensor.numel()} that are NaN or infinite"
            raise InputError(_field(letter, name), value, "leave those examples out, or fill them in")


def _extreme_rows(inputs: Tensor) -> Tensor:
    """A few rows from everywhere; of whole numbers, which may be indices, those with the smallest and the largest."""
    if inputs.is_floating_point() or inputs.dtype == torch.uint8:
        last = len(inputs) - 1
        return torch.linspace(0, last, min(_FEW, len(inputs)), device=inputs.device).round().long()
    each = inputs.reshape(len(inputs), -1)
    return torch.stack([each.amin(1).argmin(), each.amax(1).argmax()])


def _outputs(network: nn.Module, inputs: Tensor, name: str, count: int) -> Tensor:
    whole = "" if inputs.is_floating_point() else ", as floats unless it embeds whole numbers"
    expected = f"expected inputs that it takes{whole}"
    with refusing(_field("x", name), _kind(inputs, count), "the network can't take them", expected):
        outputs = network(inputs)
        alone = network(inputs[:1]) if inputs.ndim == 1 else None  # a layer may take it for a single example
    if not isinstance(outputs, Tensor):
        remedy = "expected a network whose output is one tensor"
        raise InputError("build", f"a network that gives {kind_of(outputs)}", remedy)
    if outputs.shape[:1] != inputs.shape[:1] or (alone is not None and alone.shape[:1] != (1,)):
        value = f"a network that gives {tuple(outputs.shape)} for {len(inputs)} examples"
        raise InputError("build", value, "expected an output with a row for each example")
    return outputs


def _check_targets(criterion: Criterion, outputs: Tensor, one: EvaluationSet, rows: Tensor, name: str) -> None:
    every = one.examples.targets if one.own_targets is None else one.own_targets.flatten(0, 1)
    targets, count = every[rows], len(one.examples)
    field = _field("y", name) if one.own_targets is None or name != "train" else "targets"
    value = f"{_kind(targets, count)}, where the network gives {(count, *outputs.shape[1:])}"
    if criterion.requested == "mse" and not (targets.is_floating_point() and targets.shape == outputs.shape):
        remedy = 'expected values of the same shape, or loss="cross_entropy" if they are classes'
        raise InputError(field, value, remedy)
    classes = not targets.is_floating_point() and targets.dtype != torch.bool
    if criterion.requested == "cross_entropy" or (criterion.by_class and classes):
        if outputs.ndim < 2 or not classes or targets.shape != (len(outputs), *outputs.shape[2:]):
            raise InputError(field, value, 'expected the number of a class for each example, or loss="mse" for values')
        _check_classes(criterion, every, outputs.shape[1], field)
    if criterion.requested is None:
        _check_own_loss(criterion, outputs, targets, f"{field} of {value}")


def _check_classes(criterion: Criterion, labels: Tensor, width: int, field: str) -> None:
    criterion.check_classes(labels, width, field)
    if not bool(criterion.counted(labels).any()):
        raise InputError(field, f"{labels.numel()} labels that the loss ignores", "expected labels that count")


def _check_own_loss(criterion: Criterion, outputs: Tensor, targets: Tensor, what: str) -> None:
    problem = f"it can't judge {what}"
    with warnings.catch_warnings(), refusing("loss", criterion.name, problem, "expected targets that fit"):
        warnings.filterwarnings("error", message="Using a target size")  # PyTorch would only warn and broadcast
        raw = criterion.raw(outputs, targets)
    criterion.value(raw)
    if _broadcasts(criterion, outputs, targets):
        remedy = f"it compares every output with every target of {what}; expected targets of the outputs' shape"
        raise InputError("loss", criterion.name, remedy)


def _broadcasts(criterion: Criterion, outputs: Tensor, targets: Tensor) -> bool:
    """Whether a loss is the mean over examples only once the targets have the shape of the outputs."""
    if targets.shape == outputs.shape or targets.numel() != outputs.numel():
        return False
    try:
        whole = criterion(outputs, (targets,))
        rows = [criterion(o[None], (t[None],)) for o, t in zip(outputs, targets, strict=True)]
        reshaped = criterion(outputs, (targets.reshape(outputs.shape),))
    except TRIAL_ERRORS:
        return False
    alone = torch.stack(rows).mean()
    return bool(torch.isclose(reshaped, alone)) and not bool(torch.isclose(whole, alone))


def _field(letter: str, name: str) -> str:
    return f"{letter}_{name}" if name in ("train", "test") else f"{name}.{'inputs' if letter == 'x' else 'targets'}"


def _kind(tensor: Tensor, count: int) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {(count, *tensor.shape[1:])}"
