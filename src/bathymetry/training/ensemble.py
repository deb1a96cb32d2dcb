"""Members of an ensemble: built under their own random streams, stacked, and tried on a few examples."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.networks import unwrapped
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.showing import readable
from bathymetry.core.streams import stream_seed
from bathymetry.data.examples import Examples
from bathymetry.training.loss import Criterion

_COPIES = 7  # of every parameter: two networks, the stack, its gradients, two moments, and the result
_OBJECT_BYTES = 3_000  # Python's overhead per layer or tensor
_FEW = 8  # examples to try
TRIAL_ERRORS = (RuntimeError, IndexError, ValueError, TypeError, AttributeError, AssertionError, UserWarning)
_WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}


@readable
class StackedTensors:
    """Named tensors of every member, in one buffer."""

    flat: Float[Tensor, " entry"]  # members × parameters entries, one block per name
    views: Mapping[str, Tensor] = field(repr=False)  # name → (member, *shape), views into `flat`
    members: int

    @staticmethod
    def laid_out(flat: Tensor, shapes: Mapping[str, Sequence[int]], members: int) -> "StackedTensors":
        """Cut a buffer into one block per name."""
        views, start = {}, 0
        for name, shape in shapes.items():
            end = start + members * prod(shape)
            views[name] = flat[start:end].view(members, *shape)
            start = end
        return StackedTensors(flat, views, members)

    @staticmethod
    def of(tensors: Sequence[Mapping[str, Tensor]], dtype: torch.dtype, device: torch.device) -> "StackedTensors":
        """Copy the tensors of every member, which have the same names and shapes, into one buffer."""
        shapes = {name: tensor.shape for name, tensor in tensors[0].items()}
        entries = len(tensors) * sum(prod(shape) for shape in shapes.values())
        stacked = StackedTensors.laid_out(torch.empty(entries, dtype=dtype, device=device), shapes, len(tensors))
        for position, member in enumerate(tensors):
            for name, tensor in member.items():
                stacked.views[name][position].copy_(tensor.detach())
        return stacked

    def zeros_like(self) -> "StackedTensors":
        """Zeros in a buffer of their own, with the same layout."""
        shapes = {name: view.shape[1:] for name, view in self.views.items()}
        return StackedTensors.laid_out(torch.zeros_like(self.flat), shapes, self.members)

    def member(self, position: int) -> dict[str, Tensor]:
        """Views of one member's tensors by name."""
        return {name: view[position] for name, view in self.views.items()}

    def copied(self) -> dict[str, Tensor]:
        """Copies of the stacked tensors by name."""
        return {name: view.clone() for name, view in self.views.items()}

    def vectors(self) -> Float[Tensor, "member parameter"]:
        """Each member's tensors as one row, in the order of `nn.Module.parameters()`; a copy."""
        return torch.cat([view.reshape(self.members, -1) for view in self.views.values()], dim=1)


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
class Batch:
    """The examples of one step."""

    inputs: Shaped[Tensor, "..."]  # (example, *feature) if shared, else (member, example, *feature)
    targets: Shaped[Tensor, "member example *target"]
    shared: bool  # whether all members get the same inputs
    step: int = 0  # selects the random stream of layers such as dropout


def build_members(
    build: Callable[[], nn.Module], members: range, seed: int, *, same_start: bool = False
) -> list[nn.Module]:
    """Build each member under its own random stream; returns copies in training mode."""
    built: list[nn.Module] = []  # all are kept until they are compared: a freed address could look shared
    with torch.random.fork_rng(devices=[]):
        for member in members:
            torch.manual_seed(stream_seed(seed, member, "initialisation"))
            built.append(_built(build))
            if len(built) == 1:
                _check_memory(built[0], len(members))
    shapes = [_shapes(module) for module in built]
    if any(one != shapes[0] for one in shapes):
        raise InputError("build", "networks of different shapes", "expected the same architecture each time")
    if not any(p.requires_grad for p in built[0].parameters()):
        raise InputError("build", type(built[0]).__name__, "expected a network with trainable parameters")
    if not same_start:
        _check_starts(built, members)
    return [copied(module).train() for module in built]


def copied(network: nn.Module) -> nn.Module:
    """Copy a network, or say why it can't be copied."""
    try:
        return copy.deepcopy(network)
    except Exception as error:
        remedy = f"it can't be copied ({first_line(error)}); expected a network that copy.deepcopy takes"
        raise InputError("build", type(network).__name__, remedy) from error


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        module = build()
    except Exception as error:
        remedy = (
            f"it fails when it is called without arguments ({first_line(error)}); "
            "expected a function that makes one network"
        )
        raise InputError("build", getattr(build, "__name__", build), remedy) from error
    if not isinstance(module, nn.Module):
        raise InputError("build", type(module).__name__, "expected a function that makes an nn.Module")
    for layer in module.modules():
        if inside := _WRAPPERS.get(type(layer).__name__):
            remedy = f"members are trained together without it; expected the network inside, its `.{inside}`"
            raise InputError("build", f"a {type(layer).__name__}", remedy)
    return unwrapped(module, "build")


def _shapes(module: nn.Module) -> dict[str, tuple[object, ...]]:
    parameters = {name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()}
    return {**parameters, **{f"buffer {name}": tuple(buffer.shape) for name, buffer in module.named_buffers()}}


def _check_memory(first: nn.Module, members: int) -> None:
    tensors = [*first.parameters(), *first.buffers()]
    objects = sum(1 for _ in first.modules()) + len(tensors)
    each = _COPIES * sum(one.numel() * one.element_size() for one in tensors) + _OBJECT_BYTES * objects
    needed, free = each * members, free_bytes()
    if needed > free:
        count = sum(p.numel() for p in first.parameters())
        expected = f"at most {free // each:,}" if free // each else "a smaller network"
        sizes = f"take about {gigabytes(needed)} and {gigabytes(free)} are free"
        raise InputError("members", members, f"networks of {count:,} parameters {sizes}; expected {expected}")


def _check_starts(built: Sequence[nn.Module], members: range) -> None:
    """Refuse members that share a trainable tensor or begin with equal parameters and buffers."""
    remedy = (
        "expected new random weights each time the function is called: build every layer inside it and set no seed "
        "there; for copies of one start say same_start=True"
    )
    owners: dict[tuple[int, tuple[int, ...]], int] = {}
    starts: dict[tuple[object, ...], list[int]] = {}
    for place, module in enumerate(built):
        for name, parameter in module.named_parameters():
            owner = owners.setdefault((parameter.data_ptr(), tuple(parameter.shape)), place)
            if owner != place and parameter.requires_grad and parameter.numel():
                which = f"networks {members[owner]} and {members[place]} share {name}"
                raise InputError("build", f"a function whose {which}", remedy)
        state = _state(module)
        sums = tuple(one.sum().item() for one in state)
        for other in starts.get(sums, ()):
            if all(map(torch.equal, state, _state(built[other]))):
                which = f"networks {members[other]} and {members[place]} begin with equal parameters"
                raise InputError("build", f"a function whose {which}", remedy)
        starts.setdefault(sums, []).append(place)


def _state(module: nn.Module) -> list[Tensor]:
    return [*(p.detach() for p in module.parameters()), *module.buffers()]


def check_fit(
    network: nn.Module,
    criterion: Criterion,
    sets: Mapping[str, EvaluationSet],
    batch_size: int | None,
    dtype: torch.dtype,
) -> None:
    """Try network and loss on a few examples of each set; the first set is the training set."""
    for name, one in sets.items():
        _check_numbers(name, one)
    own = copied(network).to(device=next(iter(sets.values())).examples.inputs.device, dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        for place, (name, one) in enumerate(sets.items()):
            rows = _extreme_rows(one.examples.inputs)
            inputs = one.examples.scaled(one.examples.inputs[rows], dtype)
            outputs = _outputs(own.eval(), inputs, name, len(one.examples))
            _check_targets(criterion, outputs, one, rows, name)
            if place == 0:
                _check_last_batch(own.train(), inputs, len(one.examples), batch_size)


def _check_numbers(name: str, one: EvaluationSet) -> None:
    if len(one.examples) == 0:
        raise InputError(_field("x", name), "no example", "expected at least one")
    for letter, tensor in (("x", one.examples.inputs), ("y", one.examples.targets), ("y", one.own_targets)):
        if tensor is not None and tensor.is_floating_point():
            wrong = tensor.numel() - int(tensor.isfinite().sum())
            if wrong:
                remedy = "leave those examples out, or fill them in"
                value = f"{wrong} numbers of {tensor.numel()} that are NaN or infinite"
                raise InputError(_field(letter, name), value, remedy)


def _extreme_rows(inputs: Tensor) -> Tensor:
    """A few rows from everywhere; of whole numbers, which may be indices, those with the smallest and the largest."""
    if inputs.is_floating_point() or inputs.dtype == torch.uint8:
        last = len(inputs) - 1
        return torch.linspace(0, last, min(_FEW, len(inputs)), device=inputs.device).round().long()
    each = inputs.reshape(len(inputs), -1)
    return torch.stack([each.amin(1).argmin(), each.amax(1).argmax()])


def _outputs(network: nn.Module, inputs: Tensor, name: str, count: int) -> Tensor:
    try:
        with torch.no_grad():
            outputs = network(inputs)
            alone = network(inputs[:1]) if inputs.ndim == 1 else None  # a layer may take it for a single example
    except TRIAL_ERRORS as error:
        whole = "" if inputs.is_floating_point() else ", as floats unless it embeds whole numbers"
        remedy = f"the network can't take them ({first_line(error)}); expected inputs that it takes{whole}"
        raise InputError(_field("x", name), _kind(inputs, count), remedy) from error
    if not isinstance(outputs, Tensor):
        remedy = "expected a network whose output is one tensor"
        raise InputError("build", f"a network that gives a {type(outputs).__name__}", remedy)
    if outputs.shape[:1] != inputs.shape[:1] or (alone is not None and alone.shape[:1] != (1,)):
        value = f"a network that gives {tuple(outputs.shape)} for {len(inputs)} examples"
        raise InputError("build", value, "expected an output with a row for each example")
    return outputs


def _check_targets(criterion: Criterion, outputs: Tensor, one: EvaluationSet, rows: Tensor, name: str) -> None:
    every = one.examples.targets if one.own_targets is None else one.own_targets.flatten(0, 1)
    targets, count = every[rows], len(one.examples)
    field = _field("y", name) if one.own_targets is None or name != "train" else "targets"
    value = f"{_kind(targets, count)}, where the network gives {(count, *outputs.shape[1:])}"
    classes = not targets.is_floating_point() and targets.dtype != torch.bool
    if criterion.requested == "mse":
        if not targets.is_floating_point():
            raise InputError(field, value, 'expected values, or loss="cross_entropy" if they are classes')
        if targets.shape != outputs.shape:
            raise InputError(field, value, "expected targets and outputs of the same shape")
    if criterion.requested == "cross_entropy" or (criterion.by_class and classes):
        if outputs.ndim < 2 or not classes or targets.shape != (len(outputs), *outputs.shape[2:]):
            raise InputError(field, value, 'expected the number of a class for each example, or loss="mse" for values')
        _check_classes(criterion, every, outputs.shape[1], field)
    if criterion.requested is None:
        _check_own_loss(criterion, outputs, targets, f"{field} of {value}")


def _check_classes(criterion: Criterion, labels: Tensor, width: int, field: str) -> None:
    wrong = criterion.counted(labels) & ((labels < 0) | (labels >= width))
    if bool(wrong.any()):
        first = int(labels[wrong][0])
        remedy = (
            f"expected classes from 0 to {width - 1}, a network with an output for each class, or, where {first} marks "
            f"a missing label, loss=torch.nn.CrossEntropyLoss(ignore_index={first})"
        )
        value = f"classes from {int(labels.min())} to {int(labels.max())}, where the network gives {width} outputs"
        raise InputError(field, value, remedy)
    if not bool(criterion.counted(labels).any()):
        raise InputError(field, f"{labels.numel()} labels that the loss ignores", "expected labels that count")


def _check_own_loss(criterion: Criterion, outputs: Tensor, targets: Tensor, what: str) -> None:
    if criterion.takes_model:
        remedy = "a loss of (model, batch) is for surfaces; expected one of (output, targets)"
        raise InputError("loss", criterion.name, remedy)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")  # PyTorch would only warn and broadcast
            raw = criterion.raw(outputs, targets)
    except TRIAL_ERRORS as error:
        remedy = f"it can't judge {what} ({first_line(error)}); expected targets that fit"
        raise InputError("loss", criterion.name, remedy) from error
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


def _check_last_batch(network: nn.Module, inputs: Tensor, examples: int, batch_size: int | None) -> None:
    last = examples % batch_size if batch_size else examples
    if last == 1 or batch_size == 1:
        try:
            with torch.no_grad():
                network(inputs[:1])
        except TRIAL_ERRORS as error:
            remedy = f"a batch has a single example, which the network can't take ({first_line(error)}); choose another"
            raise InputError("batch_size", batch_size, remedy) from error


def _field(letter: str, name: str) -> str:
    return f"{letter}_{name}" if name in ("train", "test") else f"{name}.{'inputs' if letter == 'x' else 'targets'}"


def _kind(tensor: Tensor, count: int) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {(count, *tensor.shape[1:])}"
