"""Which parameters θ is made of, and the way between one flat vector and named tensors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathymetry.core.errors import InputError, check_dense


@dataclass(frozen=True)
class Selection:
    """The coordinates of a loss surface: some of a network's parameters, one after another."""

    shapes: Mapping[str, tuple[int, ...]]  # in the order of `nn.Module.named_parameters()`
    dtype: torch.dtype  # of θ: the widest of its parameters', at least float32

    @property
    def dimension(self) -> int:
        """How many numbers θ has."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in θ."""
        places, start = {}, 0
        for name, shape in self.shapes.items():
            places[name] = slice(start, start + prod(shape))
            start += prod(shape)
        return places

    @property
    def layers(self) -> dict[str, slice]:
        """Where each layer lies in θ: parameters that follow one another and have the same module."""
        places: dict[str, slice] = {}
        for name, place in self.slices.items():
            layer = name.rpartition(".")[0] or name
            start = places[layer].start if layer in places else place.start
            places[layer] = slice(start, place.stop)
        return places

    def join(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " parameter"]:
        """Lay named tensors out as θ.

        Args:
            tensors: At least the parameters of the selection.

        Returns:
            A copy in the dtype of θ.
        """
        return torch.cat([tensors[name].detach().reshape(-1).to(self.dtype) for name in self.shapes])

    def points(
        self, theta: Float[Tensor, "*member parameter"], device: torch.device, field: str = "theta"
    ) -> tuple[Float[Tensor, "member parameter"], bool]:
        """Lay out given points.

        Args:
            theta: One point, or one a member.
            device: Where to.
            field: What to call them in a complaint.

        Returns:
            The points, and whether there was one, without a member axis.

        Raises:
            InputError: If they are not real numbers in the right shape.
        """
        try:
            theta = torch.as_tensor(theta)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(field, type(theta).__name__, "give a tensor of real numbers") from error
        if theta.is_complex() or theta.dtype == torch.bool:
            raise InputError(field, theta.dtype, "give real numbers")
        check_dense(field, theta)
        if theta.ndim not in (1, 2) or theta.shape[-1] != self.dimension or theta.numel() == 0:
            shape = f"({self.dimension},) or (member, {self.dimension})"
            raise InputError(field, f"shape {tuple(theta.shape)}", f"give shape {shape}")
        points = theta.detach().to(device, self.dtype)
        return (points[None], True) if theta.ndim == 1 else (points, False)

    def of(self, network: nn.Module) -> Float[Tensor, " parameter"]:
        """Lay a network's parameters out as θ.

        Args:
            network: Any with parameters of these names and shapes.

        Returns:
            A copy in the dtype of θ.

        Raises:
            InputError: If it has not.
        """
        if not isinstance(network, nn.Module):
            raise InputError("network", type(network).__name__, "give an nn.Module")
        own = dict(network.named_parameters(remove_duplicate=False))
        for name, shape in self.shapes.items():
            if name not in own or own[name].shape != shape:
                there = f"{name} of shape {tuple(own[name].shape)}" if name in own else f"a network without {name}"
                raise InputError("network", there, f"give one of the same architecture, where {name} has shape {shape}")
        return self.join(own)

    def split(self, theta: Float[Tensor, "*lead parameter"]) -> dict[str, Tensor]:
        """Cut θ into named tensors.

        Args:
            theta: Flat parameters, with any leading axes.

        Returns:
            Views by name, (*lead, *shape).
        """
        # in one operation: the backward pass of a slice fills a vector of the length of θ, for each parameter
        parts = torch.split(theta, [prod(shape) for shape in self.shapes.values()], dim=-1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view((*theta.shape[:-1], *shape)) for (name, shape), part in named}


def select(model: nn.Module, params: Sequence[str] | None, dtype: torch.dtype | None) -> Selection:
    """Choose the parameters of a surface.

    Args:
        model: The network. Parameters that share one tensor count once.
        params: Names of parameters or of layers; None for all that are trainable.
        dtype: What θ is to be measured in; None for the parameters' own.

    Returns:
        The selection.

    Raises:
        InputError: If a name is unknown, or a parameter is not made of real numbers, or none is left.
    """
    own = dict(model.named_parameters())
    if params is None:
        chosen = {name: p for name, p in own.items() if p.requires_grad}
        if not chosen:
            raise InputError("model", type(model).__name__, "give a network with trainable parameters")
    else:
        names = [params] if isinstance(params, str) else params
        if not (isinstance(names, Sequence) and all(isinstance(name, str) for name in names)):
            raise InputError("params", type(params).__name__, "expected names of parameters or layers, or None for all")
        wanted = set(_named(model, own, names))
        chosen = {name: p for name, p in own.items() if name in wanted}
        if not chosen:
            raise InputError("params", list(params), "give at least one name, or None for all")
    for name, parameter in chosen.items():
        if not parameter.is_floating_point():
            raise InputError(
                name, f"a parameter of {parameter.dtype}", "a loss surface has real parameters: leave it out"
            )
    widest = reduce(torch.promote_types, [p.dtype for p in chosen.values()], torch.float32)
    return Selection({name: tuple(p.shape) for name, p in chosen.items()}, dtype or widest)


def _named(model: nn.Module, own: Mapping[str, Tensor], params: Sequence[str]) -> Iterator[str]:
    # A tied parameter has several names; its first is the one that counts.
    first = {id(p): name for name, p in own.items()}
    every = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    for wanted in params:
        found = [real for name, real in every.items() if name == wanted or name.startswith(f"{wanted}.")]
        if not found:
            raise InputError(
                "params", wanted, f"give names of parameters or layers, such as {', '.join(list(own)[:3])}"
            )
        yield from found
