"""What surrounds a forward pass: random states, and a context in which PyTorch differentiates twice and exactly."""

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from bathymetry.core.randomness import random_states

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_DEVICES = ("cpu", "cuda", "mps", "xpu")
_lock = threading.Lock()
_GENERATOR = "_checkpoint_without_reentrant_generator"  # what `checkpoint` looks up in each call
_original: Any = None
_users = 0  # measurements in progress, nested or in several threads


def own_generators(module: nn.Module) -> list[Any]:
    """Generators that layers, their classes, or what they keep in attributes hold."""
    found = {}
    for layer in module.modules():
        own_classes = [one for one in type(layer).__mro__ if not one.__module__.startswith("torch.")]
        for value in chain(vars(layer).values(), *(vars(one).values() for one in own_classes)):
            inside = list(value.values()) if isinstance(value, dict) else value
            if not isinstance(inside, list | tuple):
                inside = [value, *getattr(value, "__dict__", {}).values()]
            found.update({id(one): one for one in inside if isinstance(one, _GENERATORS)})
    return list(found.values())


@contextmanager
def layers_that_draw(module: nn.Module, generators: Sequence[Any]) -> Iterator[list[str]]:
    """Collect the names of the layers in whose own part of a forward pass random numbers are drawn."""
    found: list[str] = []
    running: list[str] = []
    last = random_states(generators)  # when a layer was last entered or left
    names = {layer: name for name, layer in module.named_modules()}

    def attribute() -> None:
        nonlocal last
        now = random_states(generators)
        if now != last and running and running[-1] not in found:
            found.append(running[-1])
        last = now

    def enter(layer: nn.Module, *_: Any) -> None:
        attribute()
        running.append(names[layer])

    def leave(*_: Any) -> None:
        attribute()
        running.pop()

    with ExitStack() as hooks:
        for layer in names:
            hooks.callback(layer.register_forward_pre_hook(enter).remove)
            hooks.callback(layer.register_forward_hook(leave).remove)
        yield found


def is_random_in_training(layer: nn.Module) -> bool:
    """Whether a layer of PyTorch draws random numbers in training mode."""
    match layer:
        case nn.modules.dropout._DropoutNd():
            return bool(layer.p > 0)
        case nn.RNNBase():
            return bool(layer.dropout > 0 and layer.num_layers > 1)
        case nn.MultiheadAttention():
            return bool(layer.dropout > 0)
    return isinstance(layer, nn.RReLU) and bool(layer.lower < layer.upper)


@contextmanager
def twice_differentiable(*, weight_norm: bool, recurrent: bool) -> Iterator[None]:
    """Enable gradients; replace fused kernels, weight normalisation, checkpoints, compiled parts, autocast and TF32.

    A checkpoint (`use_reentrant=False`) runs a part of the network again in the backward pass, with that part's own
    parameters instead of those that were passed. Without it the loss is the same function.
    """
    global _users, _original
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):  # it would round measurements to 8 bits
                stack.enter_context(torch.autocast(device, enabled=False))
        if "torch._dynamo" in sys.modules:  # a compiled backward pass can't be differentiated again
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        if torch.cuda.is_available():
            stack.enter_context(_in_full_float32())
        if recurrent:  # cuDNN's recurrent layers have no second derivative
            stack.enter_context(_without_cudnn())
        if weight_norm:
            stack.enter_context(_PlainWeightNorm())
        with _lock:
            if _users == 0:
                _original = getattr(checkpoint, _GENERATOR)
                setattr(checkpoint, _GENERATOR, _forward_only)
            _users += 1
        stack.callback(_restore_checkpoints)
        yield


def _restore_checkpoints() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            setattr(checkpoint, _GENERATOR, _original)


@contextmanager
def _in_full_float32() -> Iterator[None]:
    """Compute in all bits of float32: PyTorch's convolutions on a GPU round factors to 10 bits by default."""
    switches: list[tuple[Any, str, Any]] = [(torch.backends.cudnn, "allow_tf32", False)]
    switches.append((torch.backends.cuda.matmul, "allow_tf32", False))
    try:
        before = [getattr(owner, name) for owner, name, _ in switches]
    except RuntimeError:  # whoever has set the newer switches (PyTorch 2.9) can't read the older ones
        cudnn: Any = torch.backends.cudnn  # whose stubs do not have its switches
        owners = torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn
        switches = [(owner, "fp32_precision", "ieee") for owner in owners]
        before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, full in switches:
            setattr(owner, name, full)
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


@contextmanager
def _without_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


class _PlainWeightNorm(TorchFunctionMode):
    """Weight normalisation as g v/‖v‖: the second derivative of PyTorch's fused kernel is wrong (in 2.13)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch._weight_norm:
            return func(*args, **(kwargs or {}))
        direction, length = args[0], args[1]
        axis = args[2] if len(args) > 2 else 0
        others = [one for one in range(direction.ndim) if one != axis % direction.ndim or axis == -1]
        if not others:  # for which vector_norm would take all axes
            return length * direction / direction.abs()
        return length * direction / torch.linalg.vector_norm(direction, dim=others, keepdim=True)


def _forward_only(_function: Any, _preserve: Any, context_fn: Callable[[], Any], *_: Any, **__: Any) -> Iterator[None]:
    """What `checkpoint` does around a call, in the context that the user chose for the forward pass."""
    forward, _ = context_fn()
    with nullcontext() if isinstance(forward, checkpoint._CachingTorchDispatchMode) else forward:
        yield
