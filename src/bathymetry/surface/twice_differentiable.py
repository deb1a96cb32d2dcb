"""A context in which PyTorch differentiates twice, and exactly, what it does otherwise once, rounded or wrongly."""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def twice_differentiable(*, weight_norm: bool, recurrent: bool) -> Iterator[None]:
    """Enable gradients; replace fused kernels, weight normalisation, checkpoints, compiled parts and autocast."""
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
        stack.enter_context(_without_checkpointing())
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        if recurrent:  # cuDNN's recurrent layers have no second derivative
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if weight_norm:
            stack.enter_context(_PlainWeightNorm())
        yield


class _PlainWeightNorm(TorchFunctionMode):
    """Weight normalisation as g v/‖v‖: the second derivative of PyTorch's fused kernel is wrong (in 2.13)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch._weight_norm:
            return func(*args, **(kwargs or {}))
        direction, length = args[0], args[1]
        axis = args[2] if len(args) > 2 else 0
        others = [one for one in range(direction.ndim) if one != axis % direction.ndim or axis == -1]
        if not others:  # where no axis is named, vector_norm takes all
            return length * direction / direction.abs()
        return length * direction / torch.linalg.vector_norm(direction, dim=others, keepdim=True)


_lock = threading.Lock()
_GENERATOR = "_checkpoint_without_reentrant_generator"  # what `checkpoint` looks up in each call
_original: Any = None
_users = 0  # measurements in progress, nested or in several threads


@contextmanager
def _without_checkpointing() -> Iterator[None]:
    """Have `torch.utils.checkpoint.checkpoint(..., use_reentrant=False)` call its function and do no more.

    A checkpoint runs a part of the network again in the backward pass, with that part's own parameters instead of those
    that were passed. Without it the loss is the same function.
    """
    global _users, _original
    with _lock:
        if _users == 0:
            _original = getattr(checkpoint, _GENERATOR)
            setattr(checkpoint, _GENERATOR, _forward_only)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                setattr(checkpoint, _GENERATOR, _original)


def _forward_only(_function: Any, _preserve: Any, context_fn: Callable[[], Any], *_: Any, **__: Any) -> Iterator[None]:
    """What `checkpoint` does around a call, in the context that the user chose for the forward pass."""
    forward, _ = context_fn()
    with nullcontext() if isinstance(forward, checkpoint._CachingTorchDispatchMode) else forward:
        yield
