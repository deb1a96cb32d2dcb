"""A network as a function of its parameters, run on a structure of our own so that the user's is never touched.

The structure is a deep copy that shares the tensors: what a forward pass writes into attributes or buffers lands in the
copy, and parameters are handed in by `functional_call`. Its layers follow the user's network in their training mode.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from bathymetry.core.errors import BathymetryError, InputError, first_line
from bathymetry.surface.randomness import unstirred


@dataclass
class Watch:
    """What passes were seen to do."""

    handed: list[Tensor] = field(default_factory=list)  # copies of what they were handed
    kept_something: bool = False  # whether they wrote into a tensor that is neither parameter nor buffer
    drew: bool = False  # whether they drew random numbers


class Network:
    """A user's network, ready to be asked at any parameters.

    Args:
        module: The network.
        dtype: What to compute in; None for the dtypes it has.

    Raises:
        InputError: If it can't be copied.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None) -> None:
        if not isinstance(module, nn.Module):
            raise InputError("model", type(module).__name__, "give an nn.Module")
        self._theirs, self._dtype = module, dtype
        self.coupled = False  # whether examples were seen to depend on one another
        self._draws = False  # whether passes draw random numbers without an effect on the loss
        self._writes = True  # whether passes write into what they are handed, until they were seen not to
        self._watch: Watch | None = None
        shared = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
        shared |= {id(one): one.detach().clone() for one in _other_tensors(module)}  # which a pass may write into
        try:
            self._own = copy.deepcopy(module, dict(shared))
        except Exception as error:
            raise InputError(
                "model", type(module).__name__, f"it can't be copied ({error}); give one that can"
            ) from error
        self._normalised = any("WeightNorm" in type(one).__name__ for one in _parts(self._own))
        for layer in self._own.modules():
            layer._backward_hooks.clear()
            layer._backward_pre_hooks.clear()

    @property
    def couples_examples(self) -> bool:
        """Whether an example's loss depends on the others of its batch, as in BatchNorm while training."""
        return self.coupled or any(_uses_batch_statistics(layer) for layer in self._theirs.modules())

    @property
    def precision(self) -> float:
        """The rounding unit of the coarsest dtype that is computed in."""
        kinds = {p.dtype for p in self._theirs.parameters() if p.is_floating_point()}
        return max(torch.finfo(kind).eps for kind in ({self._dtype} if self._dtype else kinds))

    @property
    def kind(self) -> str:
        """The name of the network's class."""
        return type(self._theirs).__name__

    def constants(self, varied: Mapping[str, Any]) -> dict[str, Tensor]:
        """Give all tensors that are not varied: other parameters and buffers, as copies where a pass may write.

        Args:
            varied: The names of the parameters that are.

        Returns:
            Tensors by name.
        """
        others = {n: self.guarded(self.cast(p.detach())) for n, p in self._theirs.named_parameters() if n not in varied}
        buffers = {n: self.cast(b.detach()).clone() for n, b in self._theirs.named_buffers()}
        return {**others, **buffers}

    def cast(self, tensor: Tensor) -> Tensor:
        """Bring a tensor to the dtype that is computed in.

        Args:
            tensor: Any tensor.

        Returns:
            The tensor, or a copy if it has real numbers of another dtype.
        """
        return tensor.to(self._dtype) if self._dtype is not None and tensor.is_floating_point() else tensor

    def guarded(self, tensor: Tensor) -> Tensor:
        """Give what may be handed to a pass that might write into it.

        Args:
            tensor: Somebody else's tensor.

        Returns:
            The tensor, or a copy if this network writes into what it is handed.
        """
        if not self._writes:
            return tensor
        copied = tensor.clone()
        if self._watch is not None:
            self._watch.handed.append(copied)
        return copied

    @contextmanager
    def watched(self) -> "Iterator[Watch]":
        """Find out what passes do to the tensors that they are handed, and spare them copies if it is nothing.

        Yields:
            What is seen.
        """
        kept = _other_tensors(self._own)
        versions = [tensor._version for tensor in kept]
        self._watch, self._draws = Watch(), True
        try:
            yield self._watch
        finally:
            self._writes = any(copied._version > 0 for copied in self._watch.handed)
            self._watch.kept_something = [tensor._version for tensor in kept] != versions
            self._draws, self._watch = self._watch.drew, None

    def output(self, parameters: Mapping[str, Tensor], constants: Mapping[str, Tensor], inputs: Any) -> Any:
        """Ask the network.

        Args:
            parameters: The varied parameters, by name; each is brought to the dtype that the network has it in.
            constants: All other tensors.
            inputs: A tensor, or a tuple or mapping of arguments.

        Returns:
            What the network gives.
        """
        own = dict(self._theirs.named_parameters())
        tensors = {name: self.guarded(p.to(self._dtype or own[name].dtype)) for name, p in parameters.items()}
        arguments, named = (), {}
        if isinstance(inputs, Mapping):
            named = {name: self._mine(one) for name, one in inputs.items()}
        else:
            arguments = tuple(self._mine(one) for one in (inputs if isinstance(inputs, tuple) else (inputs,)))
        return functional_call(self._own, {**constants, **tensors}, arguments, named)

    def _mine(self, argument: Any) -> Any:
        return self.guarded(argument) if isinstance(argument, Tensor) else argument

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Run what is inside with the layers in the user's modes, attention in a form that can be differentiated twice.

        Yields:
            Nothing.

        Raises:
            InputError: If nothing can be differentiated here, or the network or the loss fails.
            random_refusal: If a layer is random in its present mode.
        """
        with self._as_they_are(), unstirred():
            before = torch.get_rng_state()
            try:
                yield
            except Exception as error:
                if isinstance(error, BathymetryError | torch.OutOfMemoryError):
                    raise
                remedy = f"the network or the loss fails on these data or at this θ ({first_line(error)})"
                raise InputError("model", self.kind, remedy) from error
            if not self._draws and not torch.equal(before, torch.get_rng_state()):
                raise random_refusal("a random layer or function")

    @contextmanager
    def _as_they_are(self) -> Iterator[None]:
        if torch.is_inference_mode_enabled():
            raise InputError("mode", "torch.inference_mode()", "leave it: nothing can be differentiated in it")
        for own, theirs in zip(self._own.modules(), self._theirs.modules(), strict=True):
            if theirs.training and isinstance(theirs, nn.modules.dropout._DropoutNd) and theirs.p > 0:
                raise random_refusal("dropout in training mode")
            if theirs.training and "SpectralNorm" in _norms(theirs):
                remedy = "its forward pass changes it, so the loss is no function of θ alone: call model.eval() first"
                raise InputError("model", "spectral normalisation in training mode", remedy)
            own.training = theirs.training
            if isinstance(own, nn.modules.batchnorm._NormBase):
                # in training mode the batch's own statistics are used, and none are kept
                own.track_running_stats = bool(theirs.track_running_stats) and not theirs.training
        fused = torch.backends.mha.get_fastpath_enabled()
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                with _PlainWeightNorm() if self._normalised else nullcontext():
                    yield
            finally:
                torch.backends.mha.set_fastpath_enabled(fused)


def random_refusal(what: str) -> InputError:
    """Say why a random network has no loss surface.

    Args:
        what: What is random.

    Returns:
        The error.
    """
    return InputError("model", what, "its loss would differ at each evaluation: call model.eval() first")


def _uses_batch_statistics(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return False
    return layer.training or layer.running_mean is None


class _PlainWeightNorm(TorchFunctionMode):
    """Weight normalisation as g v/‖v‖: the second derivative of PyTorch's fused kernel is wrong (seen in 2.13)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._weight_norm:
            direction, length = args[0], args[1]
            axis = args[2] if len(args) > 2 else 0
            others = [one for one in range(direction.ndim) if one != axis % direction.ndim or axis == -1]
            return length * direction / direction.norm(dim=others, keepdim=True)
        return func(*args, **(kwargs or {}))


def _parts(module: nn.Module) -> Iterator[object]:
    for layer in module.modules():
        yield layer
        yield from layer._forward_pre_hooks.values()


def _norms(layer: nn.Module) -> str:
    # both kinds of PyTorch's: a parametrisation that is a layer of its own, and the older hook
    return " ".join(type(one).__name__ for one in (layer, *layer._forward_pre_hooks.values()))


def _other_tensors(module: nn.Module) -> list[Tensor]:
    found: list[Tensor] = []
    for layer in module.modules():
        found += [value for value in vars(layer).values() if isinstance(value, Tensor)]
        found += [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
    return found
