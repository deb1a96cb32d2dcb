"""Which parameters of a network are coordinates of θ, and which of its outputs and inputs are meant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import reduce
from itertools import accumulate
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.showing import kind_of
from bathymetry.surface.batches import Batch
from bathymetry.training.loss import is_correct

Point = Float[Tensor, " parameter"]
Points = Float[Tensor, "member parameter"]
Vectors = Float[Tensor, "member vector parameter"]
PerExample = Float[Tensor, " example"]

Output = str | int | Callable[[Any], Tensor] | None  # a name, a position, a function; None for the only one
Wrt = str | int | None  # a name or a position of an input


@dataclass(frozen=True)
class Selection:
    """The coordinates of a loss surface: some parameters of a network, one after another."""

    shapes: Mapping[str, tuple[int, ...]]  # in the order of `nn.Module.named_parameters()`
    dtype: torch.dtype  # of θ: the widest of its parameters', at least float32

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in θ."""
        sizes = [prod(shape) for shape in self.shapes.values()]
        ends = accumulate(sizes)
        return {name: slice(end - size, end) for name, size, end in zip(self.shapes, sizes, ends, strict=True)}

    @property
    def layers(self) -> dict[str, slice]:
        """Where each layer lies in θ: consecutive parameters of one module."""
        found: dict[str, slice] = {}
        for name, where in self.slices.items():
            layer = name.rpartition(".")[0] or name
            found[layer] = slice(found.get(layer, where).start, where.stop)
        return found

    def join(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " parameter"]:
        """Concatenate named tensors to a copy of θ; names outside the selection are ignored."""
        own = map(tensors.__getitem__, self.shapes)
        return torch.cat(tuple(map(torch.flatten, own))).detach().to(self.dtype)

    def split(self, theta: Float[Tensor, "*lead parameter"]) -> dict[str, Tensor]:
        """View θ as named tensors, (*lead, *shape)."""
        # in one operation: the backward pass of a slice fills a vector of the length of θ, for each parameter
        parts = torch.split(theta, [prod(shape) for shape in self.shapes.values()], dim=-1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view((*theta.shape[:-1], *shape)) for (name, shape), part in named}

    def of(self, network: nn.Module) -> Float[Tensor, " parameter"]:
        """Parameters of a network of the same architecture as a copy of θ."""
        own = dict(network.named_parameters(remove_duplicate=False))
        for name, shape in self.shapes.items():
            if name not in own or own[name].shape != shape:
                found = f"{name} of shape {tuple(own[name].shape)}" if name in own else f"a network without {name}"
                remedy = f"expected one of the same architecture, where {name} has shape {shape}"
                raise InputError("network", found, remedy)
        return self.join(own)


def select(model: nn.Module, params: Sequence[str] | None, dtype: torch.dtype | None) -> Selection:
    """Choose the parameters of a surface by the names of parameters or layers; None for all that are trainable."""
    # parameters that share one tensor count once, under their first name
    own = dict(model.named_parameters())
    if params is None:
        chosen = {name: p for name, p in own.items() if p.requires_grad}
        if not chosen:
            raise InputError("model", type(model).__name__, "expected a network with trainable parameters")
    else:
        wanted = _tensors_named(model, params)
        chosen = {name: p for name, p in own.items() if id(p) in wanted}
    for name, parameter in chosen.items():
        if not parameter.is_floating_point():
            remedy = "a loss surface has real parameters: leave it out"
            raise InputError(name, f"a parameter of {parameter.dtype}", remedy)
    widest = reduce(torch.promote_types, [p.dtype for p in chosen.values()], torch.float32)
    return Selection({name: tuple(p.shape) for name, p in chosen.items()}, dtype or widest)


def _tensors_named(model: nn.Module, params: Sequence[str]) -> set[int]:
    """Identities of the parameters with these names, or in layers with these names."""
    names = [params] if isinstance(params, str) else params
    if not (isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names)):
        raise InputError("params", params, "expected names of parameters or layers, or None for all")
    every = dict(model.named_parameters(remove_duplicate=False))
    found: set[int] = set()
    for wanted in names:
        inside = {id(p) for name, p in every.items() if name == wanted or name.startswith(f"{wanted}.")}
        if not inside:
            remedy = f"expected names of parameters or layers, such as {', '.join(list(every)[:3])}"
            raise InputError("params", wanted, remedy)
        found |= inside
    return found


def chosen_output(answer: Any, output: Output) -> Tensor:
    """Choose one tensor of what a network returned: a tuple, a mapping, or an object with attributes."""
    if output is None and isinstance(answer, Tensor):
        return answer
    if output is None:
        raise InputError("output", None, f"the network returns {_listed(answer)}: expected one of them by output=")
    if isinstance(output, bool) or not (isinstance(output, str | int) or callable(output)):
        raise InputError("output", output, "expected a name, a position, or a function of the network's output")
    shown = getattr(output, "__name__", output)
    try:
        found = output(answer) if callable(output) else _part(answer, output)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        remedy = f"the network returns {_listed(answer)}: expected one of them"
        raise InputError("output", shown, remedy) from error
    if not isinstance(found, Tensor):
        raise InputError("output", shown, f"it is {kind_of(found)}: expected a tensor of {_listed(answer)}")
    return found


def derived_input(batch: Batch, wrt: Wrt) -> tuple[Tensor, Callable[[Tensor], Batch]]:
    """The input by which a derivative is taken, and a function that puts another in its place."""
    inputs = batch.inputs
    parts: dict[Any, Any] = {None: inputs}
    if isinstance(inputs, Mapping | tuple):
        parts = dict(inputs) if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    if isinstance(wrt, bool) or not isinstance(wrt, str | int | None) or wrt not in parts:
        listed = "None, as the network has one input" if None in parts else f"one of {', '.join(map(repr, parts))}"
        raise InputError("wrt", wrt, f"expected {listed}")
    found = parts[wrt]
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        remedy = "expected a tensor of real numbers, which have derivatives, such as embeddings in place of tokens"
        raise InputError("data", f"inputs that are {kind}", remedy)
    if found.ndim == 0 or len(found) != batch.rows:
        raise InputError("wrt", wrt, f"it has shape {tuple(found.shape)}; expected a row for each example")

    def put(tensor: Tensor) -> Batch:
        if None in parts:
            return replace(batch, inputs=tensor)
        changed = {**parts, wrt: tensor}
        return replace(batch, inputs=changed if isinstance(inputs, Mapping) else tuple(changed.values()))

    return found, put


def are_correct(
    outputs: Float[Tensor, "member example *output"], classes: Int[Tensor, "example *position"], *, by_class: bool
) -> Bool[Tensor, "member example *position"]:
    """Compare outputs, one for each class, with the correct classes."""
    # (member, example, class); for several labels an example (member, example, class, *position) or (member, example,
    # *position, class): the first if the loss has its classes there, as PyTorch's have, else whichever fits
    shape, wanted = tuple(outputs.shape[1:]), tuple(classes.shape)
    after, last = (shape[:1] + shape[2:] == wanted, shape[:-1] == wanted)
    if len(shape) < 2 or not (after or last) or (after and last and len(shape) > 2 and not by_class):
        remedy = "expected one output for each class, for each label: (example, class, *position)"
        raise InputError("data", f"classes of shape {wanted} for outputs of shape {shape}", remedy)
    axis = 2 if after else outputs.ndim - 1
    # a label without an output is one that the loss ignores, such as −100 or 255: no output is correct for it
    known = classes.clamp(0, outputs.shape[axis] - 1)
    return is_correct(outputs.movedim(axis, 2), known.expand(len(outputs), *wanted)) & (classes == known)


def _part(answer: Any, output: str | int) -> Any:
    if isinstance(output, str) and not isinstance(answer, Mapping):
        return getattr(answer, output)
    if isinstance(answer, Tensor):
        raise TypeError("a tensor has no parts")
    return answer[output]


def _listed(answer: Any) -> str:
    kind = type(answer).__name__
    if isinstance(answer, Tensor):
        return "one tensor, which needs no output="
    if hasattr(answer, "_fields"):
        names = list(answer._fields)
    elif isinstance(answer, tuple | list):
        return f"{kind} of {len(answer)}, from 0 to {len(answer) - 1}"
    elif isinstance(answer, Mapping):
        names = list(map(str, answer))
    elif is_dataclass(answer):
        names = [one.name for one in fields(answer)]
    else:
        names = [name for name in getattr(answer, "__dict__", {}) if name[0] != "_"]
    return f"{kind} of {', '.join(names)}" if names else kind
