"""Which parameters of a network are coordinates of θ, and the way between one flat vector and named tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError

Point = Float[Tensor, " parameter"]
Points = Float[Tensor, "member parameter"]
Vectors = Float[Tensor, "member vector parameter"]
PerExample = Float[Tensor, " example"]


@dataclass(frozen=True)
class Selection:
    """The coordinates of a loss surface: some parameters of a network, one after another."""

    shapes: Mapping[str, tuple[int, ...]]  # in the order of `nn.Module.named_parameters()`
    dtype: torch.dtype  # of θ: the widest of its parameters', at least float32

    @cached_property
    def dimension(self) -> int:
        """Number of coordinates."""
        return sum(map(prod, self.shapes.values()))

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
        if not isinstance(network, nn.Module):
            raise InputError("network", type(network).__name__, "expected an nn.Module")
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
