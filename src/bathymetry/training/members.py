"""The members of an ensemble: each built under its own stream, a network of its own that differs from the others."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.streams import stream_seed

_COPIES = 7  # of every parameter: two networks, the stack, its gradients, two moments, and the result
_OBJECT_BYTES = 3_000  # what Python keeps for a layer or a tensor, beside its numbers


def build_members(
    build: Callable[[], nn.Module], members: range, seed: int, *, same_start: bool = False
) -> list[nn.Module]:
    """Build every member under a stream of its own.

    Args:
        build: Makes one network with random weights.
        members: The members' numbers.
        seed: The seed of the run.
        same_start: Whether members may begin with equal parameters.

    Returns:
        Copies of the networks, in training mode: what `build` keeps stays as it is.

    Raises:
        InputError: If `build` gives something else than a network, networks of several shapes, or the same start twice.
    """
    if isinstance(build, nn.Module):
        remedy = "give a function that makes one, such as lambda: bm.mlp([1, 8, 1]): each member needs its own"
        raise InputError("build", f"a {type(build).__name__}", remedy)
    built = []  # held until all are compared: an address that is free again would look shared
    with torch.random.fork_rng(devices=[]):
        for member in members:
            torch.manual_seed(stream_seed(seed, member, "initialisation"))
            built.append(_built(build))
            if len(built) == 1:
                _check_memory(built[0], len(members))
    shapes = [_shapes(module) for module in built]
    if any(one != shapes[0] for one in shapes):
        raise InputError("build", "networks of different shapes", "build the same architecture each time")
    if not any(p.requires_grad for p in built[0].parameters()):
        raise InputError("build", type(built[0]).__name__, "give a network with trainable parameters")
    if not same_start:
        _check_starts(built, members)
    return [copied(module).train() for module in built]


def copied(network: nn.Module) -> nn.Module:
    """Copy a network.

    Args:
        network: The network, which stays as it is.

    Returns:
        The copy.

    Raises:
        InputError: If it can't be copied.
    """
    try:
        return copy.deepcopy(network)
    except Exception as error:
        remedy = f"it can't be copied ({first_line(error)}); give one that can"
        raise InputError("build", type(network).__name__, remedy) from error


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        module = build()
    except Exception as error:
        told = f"it fails when it is called without arguments ({first_line(error)})"
        remedy = f"{told}; expected a function that makes one network"
        raise InputError("build", getattr(build, "__name__", build), remedy) from error
    if not isinstance(module, nn.Module):
        raise InputError("build", type(module).__name__, "give a function that makes an nn.Module")
    name = type(module).__name__
    for layer in module.modules():
        for attribute, wrappers in _WRAPPERS.items():
            if type(layer).__name__ in wrappers:
                remedy = f"members are trained side by side without it; expected the network inside, its `.{attribute}`"
                raise InputError("build", f"a {type(layer).__name__}", remedy)
        if isinstance(layer, torch.jit.ScriptModule):
            raise InputError("build", f"a {type(layer).__name__}", "expected the network before torch.jit took it")
    for tensor in (*module.parameters(), *module.buffers()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            remedy = "its lazy layers have no shapes yet: give them, or call the network once in the function"
            raise InputError("build", name, remedy)
        if tensor.is_meta:
            raise InputError("build", f"{name} on the meta device", "expected a network with weights, built on the CPU")
    return module


_WRAPPERS = {
    "module": ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"),
    "_orig_mod": ("OptimizedModule",),
}


def _shapes(module: nn.Module) -> dict[str, tuple[object, ...]]:
    parameters = {name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()}
    return {**parameters, **{f"buffer {name}": tuple(buffer.shape) for name, buffer in module.named_buffers()}}


def _check_memory(first: nn.Module, members: int) -> None:
    tensors = [*first.parameters(), *first.buffers()]
    numbers = sum(one.numel() * one.element_size() for one in tensors)
    objects = sum(1 for _ in first.modules()) + len(tensors)
    each = _COPIES * numbers + _OBJECT_BYTES * objects
    needed, free = each * members, free_bytes()
    if needed > free:
        count = sum(p.numel() for p in first.parameters())
        told = f"networks of {count:,} parameters take about {gigabytes(needed)} and {gigabytes(free)} are free"
        fitting = free // each
        remedy = f"{told}; expected at most {fitting:,}" if fitting else f"{told}; expected a smaller network"
        raise InputError("members", members, remedy)


def _check_starts(built: Sequence[nn.Module], members: range) -> None:
    """Refuse members that hold the same trainable tensor, or begin with equal parameters and buffers."""
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
                told = f"a function whose networks {members[owner]} and {members[place]} share {name}"
                raise InputError("build", told, remedy)
        state = _state(module)
        sums = tuple(one.sum().item() for one in state)
        for other in starts.get(sums, ()):
            if all(map(torch.equal, state, _state(built[other]))):
                told = f"a function whose networks {members[other]} and {members[place]} begin with equal parameters"
                raise InputError("build", told, remedy)
        starts.setdefault(sums, []).append(place)


def _state(module: nn.Module) -> list[Tensor]:
    return [*(p.detach() for p in module.parameters()), *module.buffers()]
