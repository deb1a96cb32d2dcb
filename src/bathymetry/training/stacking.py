"""From a builder of networks to a stack that trains: each member built under its own stream, then the fastest path."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.core.errors import InputError
from bathymetry.core.streams import stream_seed
from bathymetry.training.batch import Batch
from bathymetry.training.functional import FunctionalStack
from bathymetry.training.losses import Loss, loss_function
from bathymetry.training.perceptron import PerceptronStack, activations_of
from bathymetry.training.separate import SeparateStack
from bathymetry.training.stacked import StackedTensors, stack

Path = Literal["auto", "stacked", "functional", "separate"]


@runtime_checkable
class Stack(Protocol):
    """What every path offers: a gradient for all members, and their outputs."""

    name: str

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]: ...  # noqa: D102 - the paths document it

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]: ...  # noqa: D102


@dataclass(frozen=True)
class Ensemble:
    """Networks of one architecture, ready to be trained together."""

    modules: Sequence[nn.Module]  # as they were built; of the separate path, as they are
    parameters: StackedTensors
    gradients: StackedTensors
    stack: Stack


def build_members(build: Callable[[], nn.Module], members: range, seed: int) -> list[nn.Module]:
    """Build every member under a stream of its own.

    Args:
        build: Makes one network with random weights.
        members: The members' numbers.
        seed: The seed of the run.

    Returns:
        The networks, in training mode.

    Raises:
        InputError: If `build` gives something else than a network, or networks of several shapes.
    """
    if isinstance(build, nn.Module):
        remedy = "give a function that makes one, such as lambda: bm.mlp([1, 8, 1]): each member needs its own"
        raise InputError("build", f"a {type(build).__name__}", remedy)
    modules = []
    with torch.random.fork_rng(devices=[]):
        for member in members:
            torch.manual_seed(stream_seed(seed, member, "initialisation"))
            module = build()
            if not isinstance(module, nn.Module):
                raise InputError("build", type(module).__name__, "give a function that makes an nn.Module")
            if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
                remedy = "its lazy layers have no shapes yet: give them, or call the network once in the function"
                raise InputError("build", type(module).__name__, remedy)
            modules.append(module.train())
    shapes = [{name: tuple(p.shape) for name, p in module.named_parameters()} for module in modules]
    if any(one != shapes[0] for one in shapes):
        raise InputError("build", "networks of different shapes", "build the same architecture each time")
    if not any(p.requires_grad for p in modules[0].parameters()):
        raise InputError("build", type(modules[0]).__name__, "give a network with trainable parameters")
    return modules


def assemble(
    modules: Sequence[nn.Module],
    loss: Loss,
    members: range,
    seed: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    path: Path = "auto",
    some_inputs: Tensor | None = None,
) -> Ensemble:
    """Stack the members by the fastest path that suits them.

    Args:
        modules: The members.
        loss: Which loss.
        members: Their numbers.
        seed: The seed of the run.
        dtype: What to compute in.
        device: Where to compute.
        path: A path to take instead of the fastest: for tests and comparisons.
        some_inputs: A few inputs, to try whether a network is the same function whenever it is asked.

    Returns:
        The ensemble.

    Raises:
        InputError: If the path asked for can't train such a network.
    """
    modules = [module.to(device=device, dtype=dtype) for module in modules]
    own = [{name: p for name, p in module.named_parameters() if p.requires_grad} for module in modules]
    parameters = stack(own, dtype, device)
    gradients = parameters.zeros_like()
    activations = activations_of(modules[0])
    function = loss_function(loss)
    in_rows = some_inputs is None or some_inputs.ndim == 2
    plain = activations is not None and in_rows and loss in ("mse", "cross_entropy")
    if path == "stacked" or (path == "auto" and plain):
        if activations is None:
            raise InputError("path", path, "only a plain multilayer perceptron can take it")
        return Ensemble(modules, parameters, gradients, PerceptronStack(parameters, gradients, activations, str(loss)))
    steady = _can_be_batched(modules[0]) and (some_inputs is None or _is_steady(modules[0], some_inputs))
    if path == "functional" and not steady:
        raise InputError("path", path, "a network that is random, keeps statistics or knows its mode goes one by one")
    if path in ("auto", "functional") and steady:
        constants = _constants(modules)
        functional = FunctionalStack(modules[0], parameters, gradients, constants, function)
        return Ensemble(modules, parameters, gradients, functional)
    separate = SeparateStack(modules, parameters, gradients, function, members, seed)
    return Ensemble(modules, parameters, gradients, separate)


def _is_steady(module: nn.Module, inputs: Tensor) -> bool:
    """Try whether a network gives the same whether it trains or not and whatever the chance, and changes no buffer."""
    own = copy.deepcopy(module)
    kept = {name: buffer.clone() for name, buffer in own.named_buffers()}
    outputs = []
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for seed, training in ((0, True), (1, True), (2, False)):
                torch.manual_seed(seed)
                outputs.append(own.train(training)(inputs))
    except (RuntimeError, IndexError, ValueError, TypeError):
        return False  # the slow path will say what is wrong
    alike = all(isinstance(one, Tensor) and torch.equal(one, outputs[0]) for one in outputs)
    return alike and all(torch.equal(buffer, kept[name]) for name, buffer in own.named_buffers())


def _constants(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Stack frozen parameters and buffers, (member, *shape) each."""
    each = [
        {**{n: p.detach() for n, p in module.named_parameters() if not p.requires_grad}, **dict(module.named_buffers())}
        for module in modules
    ]
    return {name: torch.stack([constants[name] for constants in each]) for name in each[0]}


def _can_be_batched(module: nn.Module) -> bool:
    """Tell whether `vmap` takes a network: not if a layer is random, keeps statistics or is recurrent."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats:
            return False
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            return False
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention | nn.TransformerEncoderLayer):
            return False
    return True
