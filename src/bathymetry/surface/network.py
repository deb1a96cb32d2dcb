"""A network as a function of its parameters, run on a structure of our own so that the user's is never touched.

Parameters and buffers are handed in by `functional_call`. Layers are in the user's modes, or random ones are off.
"""

import copy
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from operator import is_
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from bathymetry.core.errors import BathymetryError, InputError, first_line
from bathymetry.core.networks import is_normalisation, running_statistics, unwrapped
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.randomness import preserve_rng_state
from bathymetry.training.loss import Criterion

_lock = threading.Lock()
_NAME = "_checkpoint_without_reentrant_generator"  # what `checkpoint` looks up in each call
_original: Any = None
_users = 0  # measurements in progress, nested or in several threads


def _forward_only(_function: Any, _preserve: Any, context_fn: Callable[[], Any], *_: Any, **__: Any) -> Iterator[None]:
    """Stand for what `checkpoint` does around a call, in the context that the user gave for the forward pass."""
    forward, _ = context_fn()
    with nullcontext() if isinstance(forward, checkpoint._CachingTorchDispatchMode) else forward:
        yield


@contextmanager
def without_checkpointing() -> Iterator[None]:
    """Have `torch.utils.checkpoint.checkpoint`, under whatever name it was imported, call its function and no more.

    Of the form `use_reentrant=False`; the other, which may cut the graph, is left as it is.

    Yields:
        Nothing.
    """
    global _users, _original
    with _lock:
        if _users == 0:
            _original = getattr(checkpoint, _NAME)
            setattr(checkpoint, _NAME, _forward_only)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                setattr(checkpoint, _NAME, _original)


Mode = Literal["as_is", "no_dropout"]

_PLAIN = (bool, int, float, str, type(None))


class Structure:
    """A copy of a network's layers that follows the original.

    Args:
        module: The network.
        dtype: What to compute in; None for the dtypes it has.

    Raises:
        InputError: If it can't be copied.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None) -> None:
        self._theirs, self._dtype = module, dtype
        self._layers = dict(module.named_modules())
        shared = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
        shared |= {id(one): one.detach().clone() for one in other_tensors(module)}  # which a pass may write into
        try:
            self.own: nn.Module = copy.deepcopy(module, dict(shared))
        except Exception as error:
            raise InputError(
                "model", type(module).__name__, f"it can't be copied ({error}); give one that can"
            ) from error
        self._taken: dict[tuple[int, str], tuple[Tensor, int]] = {}  # which tensor was copied, at which version
        for layer in self.own.modules():
            layer._backward_hooks.clear()
            layer._backward_pre_hooks.clear()
        self.pairs = list(
            zip(module.modules(), self.own.modules(), strict=True)
        )  # the user's layers, with their copies
        for layer, own in self.pairs:
            for name, value in vars(layer).items():
                if _are_tensors(value):
                    vars(own)[name] = self._cast(vars(own)[name])
                if isinstance(value, Tensor):
                    self._taken[id(layer), name] = value, _version(value)

    def follow(self) -> None:
        """Take over the attributes that the user's layers have now; a layer that is another one is refused."""
        if not all(map(is_, chain(self._theirs.modules(), (None,)), chain(self._layers.values(), (None,)))):
            raise self._replaced()
        for layer, own in self.pairs:
            attributes = vars(own)
            for name, value in vars(layer).items():
                if type(value) in _PLAIN:
                    attributes[name] = value
                elif isinstance(value, Tensor):
                    before, version = self._taken.get((id(layer), name), (None, 0))
                    if before is not value or version != _version(value):
                        attributes[name] = self._cast(value.detach().clone())
                        self._taken[id(layer), name] = value, _version(value)
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
                attributes["sparse"] = False  # the same gradient as a dense tensor, which has products and sums

    def _replaced(self) -> InputError:
        """Name the layer that is another one than it was."""
        now = dict(self._theirs.named_modules())
        names = [name for name in [*now, *self._layers] if now.get(name) is not self._layers.get(name)]
        remedy = "make a new LossSurface: this one has the layers that the network had before"
        return InputError("model", f"layer {names[0] or 'the whole'} that was replaced", remedy)

    def state(self) -> dict[str, Any]:
        """Describe what the copy keeps in attributes, to find out what a pass changes.

        Returns:
            By the attribute's name: a number or text, or which object it is and how long.
        """
        found: dict[str, Any] = {}
        for name, layer in self.own.named_modules():
            for attribute, value in vars(layer).items():
                if attribute in _OF_MODULES:
                    continue
                length = len(value) if isinstance(value, list | dict | set) else 0
                where = value if type(value) in _PLAIN else (id(value), length)
                found[f"{name}.{attribute}" if name else attribute] = where
        return found

    def _cast(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self._dtype) if self._dtype is not None and value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: self._cast(one) for key, one in value.items()}
        return type(value)(self._cast(one) for one in value)


_OF_MODULES = frozenset(vars(nn.Module()))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _are_tensors(value: Any) -> bool:
    # of a network's own, not of those that an LSTM lists beside its parameters
    if type(value) in (list, tuple, dict):
        parts = list(value.values() if isinstance(value, dict) else value)
        return bool(parts) and all(isinstance(one, Tensor) and not isinstance(one, nn.Parameter) for one in parts)
    return isinstance(value, Tensor)


def other_tensors(module: nn.Module) -> list[Tensor]:
    """List a network's tensors that are neither parameters nor buffers.

    Args:
        module: The network.

    Returns:
        Attributes, and gradients that it holds.
    """
    found: list[Tensor] = []
    for layer in module.modules():
        found += [value for value in vars(layer).values() if isinstance(value, Tensor)]
        found += [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
    return found


def uses_batch_statistics(layer: nn.Module, *, training: bool) -> bool:
    """Tell whether an example's output depends on the others of its batch.

    Args:
        layer: Any layer.
        training: Whether it is in training mode.

    Returns:
        Whether it does.
    """
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return False
    return training or layer.running_mean is None


def is_random_in_training(layer: nn.Module) -> bool:
    """Tell whether a layer of PyTorch's draws random numbers in training mode.

    Args:
        layer: Any layer.

    Returns:
        Whether it does.
    """
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return bool(layer.p > 0)
    if isinstance(layer, nn.RNNBase):
        return bool(layer.dropout > 0) and layer.num_layers > 1
    if isinstance(layer, nn.MultiheadAttention):
        return bool(layer.dropout > 0)
    return isinstance(layer, nn.RReLU) and bool(layer.lower < layer.upper)


def norms(layer: nn.Module) -> str:
    """Name the normalisations of weights that a layer has, in PyTorch's newer form or its older.

    Args:
        layer: Any layer.

    Returns:
        Their classes' names.
    """
    return " ".join(type(one).__name__ for one in (layer, *layer._forward_pre_hooks.values()))


def parts(module: nn.Module) -> Iterator[object]:
    """List layers and the hooks that run before them.

    Args:
        module: A network.

    Yields:
        Both.
    """
    for layer in module.modules():
        yield layer
        yield from layer._forward_pre_hooks.values()


_DIFFERS = "its loss would differ at each evaluation"


@dataclass
class Watch:
    """What passes were seen to do."""

    handed: list[Tensor] = field(default_factory=list)  # copies of what they were handed
    kept_something: bool = False  # whether they wrote into a tensor that is neither parameter nor buffer
    drew: bool = False  # whether they drew random numbers
    changed: list[str] = field(default_factory=list)  # attributes that they set


class Network:
    """A user's network, ready to be asked at any parameters.

    Args:
        module: The network.
        dtype: What to compute in; None for the dtypes it has.
        mode: "as_is" for the modes that its layers are in; "no_dropout" for evaluation mode in all but normalisations.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None, mode: Mode = "as_is") -> None:
        self._theirs, self._dtype, self._mode = unwrapped(module), dtype, mode
        self._structure = Structure(self._theirs, dtype)
        self._own = self._structure.own
        self.coupled = False  # whether examples were seen to depend on one another
        self._draws = False  # whether passes draw random numbers without an effect on the loss
        self._writes = True  # whether passes write into what they are handed, until they were seen not to
        self._differentiates = False  # whether it was seen to need gradients inside its forward pass
        self._evaluating = False  # whether all layers are to be in evaluation mode
        self._estimating = False  # whether running statistics are to be estimated anew
        self._watch: Watch | None = None
        self._carried: Mapping[str, Tensor] = {}
        self._normalised = any("WeightNorm" in type(one).__name__ for one in parts(self._own))

    def double(self) -> "Network":
        """Give the same network in float64, with what is known of it."""
        twin = Network(self._theirs, torch.float64, self._mode)
        twin.coupled, twin._draws, twin._differentiates = self.coupled, self._draws, self._differentiates
        twin._writes = self._writes
        return twin

    @property
    def couples_examples(self) -> bool:
        """Whether an example's loss depends on the others of its batch, as in BatchNorm while training."""
        return self.coupled or self._batch_normalised is not None

    @property
    def _batch_normalised(self) -> nn.Module | None:
        """A layer that uses the statistics of its batch."""
        return next(
            (one for one in self._theirs.modules() if uses_batch_statistics(one, training=self._trains(one))), None
        )

    def no_example_alone(self) -> InputError:
        """Say why an example has no value of its own."""
        layer = self._batch_normalised
        remedy = "its examples depend on one another, so none has a value of its own"
        if layer is None:
            remedy += (
                "; if the first axis of its inputs is another, such as time, put the example first (batch_first=True)"
            )
            return InputError("model", f"{self.kind}, or its loss, which mixes the examples of a batch", remedy)
        if layer.running_mean is None:
            return InputError("model", "BatchNorm without running statistics (track_running_stats=False)", remedy)
        return InputError("model", "BatchNorm in training mode", f"{remedy}: call model.eval() first")

    def _trains(self, layer: nn.Module) -> bool:
        """Tell whether a layer is run in training mode."""
        if self._estimating and is_normalisation(layer):
            return True
        if self._evaluating or (self._mode == "no_dropout" and not is_normalisation(layer)):
            return False
        return layer.training

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
        return {**others, **buffers, **{name: self.cast(one.detach()).clone() for name, one in self._carried.items()}}

    @contextmanager
    def carrying(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Ask the network with other buffers or fixed parameters than its own.

        Args:
            tensors: By name; all others stay its own.

        Yields:
            Nothing.
        """
        named = {name for name, _ in [*self._theirs.named_buffers(), *self._theirs.named_parameters()]}
        self._carried = {name: tensor for name, tensor in tensors.items() if name in named}
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        for name, tensor in tensors.items():
            if name not in named:  # an attribute
                layer, _, attribute = name.rpartition(".")
                attributes = vars(self._own.get_submodule(layer))
                replaced.append((attributes, attribute, attributes.get(attribute)))
                attributes[attribute] = self.cast(tensor.detach()).clone()
        try:
            yield
        finally:
            self._carried = {}
            for attributes, attribute, value in replaced:
                attributes[attribute] = value

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
        kept = other_tensors(self._own)
        versions = [tensor._version for tensor in kept]
        self._watch, self._draws = Watch(), True
        before: dict[str, Any] = {}
        try:
            self._structure.follow()
            before = self._structure.state()
            yield self._watch
        finally:
            self._writes = any(copied._version > 0 for copied in self._watch.handed)
            self._watch.kept_something = [tensor._version for tensor in kept] != versions
            after = self._structure.state()
            self._watch.changed = [name for name, value in after.items() if before.get(name, after) != value]
            self._draws, self._watch = self._watch.drew, None

    @property
    def running_statistics(self) -> list[str]:
        """The names of the buffers that hold statistics of what layers saw while training, if they are used now."""
        layers = dict(self._theirs.named_modules())
        used = [name for name in running_statistics(self._theirs) if not self._trains(layers[name])]
        return [f"{name}.{one}" if name else one for name in used for one in ("running_mean", "running_var")]

    def estimate_statistics(
        self, parameters: Mapping[str, Tensor], constants: dict[str, Tensor], batches: Iterable[Batch]
    ) -> dict[str, Tensor]:
        """Estimate running statistics anew, at parameters whose own nobody kept.

        Args:
            parameters: The varied parameters, by name.
            constants: All other tensors; the running statistics among them are written into.
            batches: What to estimate them on. A batch's mean and unbiased variance count by its examples.

        Returns:
            The running statistics by name.
        """
        names = self.running_statistics
        for name in names:
            constants[name].fill_(name.endswith("running_var"))
        rows = 0
        self._estimating = True
        try:
            for batch in batches:
                rows += batch.rows
                with self.measuring(), torch.no_grad():
                    for layer in self._own.modules():
                        if is_normalisation(layer):
                            vars(layer)["momentum"] = batch.rows / rows
                    self.output(parameters, constants, batch.inputs)
        finally:
            self._estimating = False
        return {name: constants[name] for name in names}

    def output(self, parameters: Mapping[str, Tensor], constants: Mapping[str, Tensor], inputs: Any) -> Any:
        """Ask the network.

        Args:
            parameters: The varied parameters, by name; each is brought to the dtype that the network has it in.
            constants: All other tensors.
            inputs: A tensor, or a tuple or mapping of arguments.

        Returns:
            What the network gives.
        """
        tensors = self._varied(parameters)
        arguments, named = (), {}
        if isinstance(inputs, Mapping):
            named = {name: self._mine(one) for name, one in inputs.items()}
        else:
            arguments = tuple(self._mine(one) for one in (inputs if isinstance(inputs, tuple) else (inputs,)))
        return self._called(self._own, {**constants, **tensors}, arguments, named)

    def _called(
        self, module: nn.Module, tensors: dict[str, Tensor], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Run a forward pass, with gradients where it differentiates by its inputs itself."""
        if torch.is_grad_enabled():
            return functional_call(module, tensors, arguments, named)
        if not self._differentiates:
            try:
                return functional_call(module, tensors, arguments, named)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                self._differentiates = True
        with torch.enable_grad():
            answer = functional_call(module, tensors, arguments, named)
        return answer.detach() if isinstance(answer, Tensor) else answer

    def raw_loss(
        self, parameters: Mapping[str, Tensor], constants: Mapping[str, Tensor], criterion: Criterion, batch: Batch
    ) -> Any:
        """Ask the network about a batch, and the loss about its answer, or about the network and the batch.

        Args:
            parameters: The varied parameters, by name.
            constants: All other tensors.
            criterion: The loss.
            batch: The batch.

        Returns:
            What the loss returns: a number, or (sum, count).
        """
        if not criterion.takes_model:
            return criterion.raw(self.output(parameters, constants, batch.inputs), *batch.targets)
        tensors = {f"model.{name}": one for name, one in {**constants, **self._varied(parameters)}.items()}
        return self._called(_WithLoss(self._own, criterion), tensors, (batch.map(self.guarded).whole,), {})

    def _varied(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = dict(self._theirs.named_parameters())
        return {name: self.guarded(p.to(self._dtype or own[name].dtype)) for name, p in parameters.items()}

    def _mine(self, argument: Any) -> Any:
        return self.guarded(argument) if isinstance(argument, Tensor) else argument

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Run what is inside with the layers in the user's modes, attention in a form that can be differentiated twice.

        Yields:
            Nothing.

        Raises:
            InputError: If nothing can be differentiated here, or the network or the loss fails.
        """
        with self._as_they_are(), preserve_rng_state():
            before = torch.get_rng_state()
            try:
                yield
            except Exception as error:
                if isinstance(error, BathymetryError | torch.OutOfMemoryError):
                    raise
                remedy = f"the network or the loss fails on these data or at this θ ({self.explained(error)})"
                raise InputError("model", self.kind, remedy) from error
            if not self._draws and not torch.equal(before, torch.get_rng_state()):
                raise self._random()

    @contextmanager
    def _as_they_are(self) -> Iterator[None]:
        if torch.is_inference_mode_enabled():
            raise InputError("mode", "torch.inference_mode()", "leave it: nothing can be differentiated in it")
        self._structure.follow()
        for theirs, own in self._structure.pairs:
            own.training = self._trains(theirs)
            if own.training and isinstance(theirs, nn.modules.dropout._DropoutNd) and theirs.p > 0:
                raise self._random()
            if own.training and "SpectralNorm" in norms(theirs):
                remedy = "its forward pass changes it, so the loss is no function of θ alone: call model.eval() first"
                raise InputError("model", "spectral normalisation in training mode", remedy)
            if isinstance(own, nn.modules.batchnorm._NormBase):
                # in training mode the batch's own statistics are used, and none are kept
                keeps = self._estimating or not own.training
                own.track_running_stats = bool(theirs.track_running_stats) and keeps
        fused = torch.backends.mha.get_fastpath_enabled()
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            for device in {parameter.device.type for parameter in self._theirs.parameters()}:
                if torch.is_autocast_enabled(device):  # which would round what is measured to 8 bits
                    stack.enter_context(torch.autocast(device, enabled=False))
            if "torch._dynamo" in sys.modules:  # a compiled backward pass can't be differentiated again
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(without_checkpointing())
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                if self._normalised:
                    stack.enter_context(_PlainWeightNorm())
                yield
            finally:
                torch.backends.mha.set_fastpath_enabled(fused)

    def unsteady(self, watch: Watch, ask: Callable[[], Tensor]) -> InputError:
        """Say why two answers to the same question differ.

        Args:
            watch: What the two passes were seen to do.
            ask: How the question was asked, to try it in evaluation mode.

        Returns:
            The error.
        """
        if watch.changed and not watch.drew:
            what = f"{self.kind}, which keeps {', '.join(watch.changed[:3])} from one call to the next"
            remedy = "expected a forward pass of inputs, parameters and buffers alone: set it anew in each call, or"
            return InputError("model", what, f"{_DIFFERS}; {remedy} make it an input or a buffer")
        self._evaluating = True
        try:
            answers = []
            for seed in (0, 1):
                with self.measuring(), preserve_rng_state(seed):
                    answers.append(ask())
        finally:
            self._evaluating = False
        same = torch.equal(answers[0], answers[1]) or bool(answers[0].isnan() & answers[1].isnan())
        return self._random(in_evaluation=not same)

    def _random(self, *, in_evaluation: bool = False) -> InputError:
        """Say why a random network has no loss surface, and how it gets one."""
        training = [(name, one) for name, one in self._theirs.named_modules() if self._trains(one)]
        if in_evaluation or not training:
            what = f"{self.kind}, in which the network or the loss draws random numbers in evaluation mode too"
            return InputError("model", what, f"{_DIFFERS}: make its noise an input, ((x, noise), y), or draw none")
        layers = [f"layer {name} ({type(one).__name__})" for name, one in training if is_random_in_training(one)]
        what = f"{layers[0]}, random in training mode" if layers else "a random function in training mode"
        if any(uses_batch_statistics(one, training=True) for _, one in training):
            remedy = (
                'mode="no_dropout" of LossSurface leaves BatchNorm in training mode; model.eval() has it use running'
            )
            return InputError("model", what, f"{_DIFFERS}: {remedy} statistics, which is another surface")
        return InputError("model", what, f"{_DIFFERS}: call model.eval() first")

    def explained(self, error: Exception, batch: Batch | None = None) -> str:
        """Give somebody else's error in one line, with what helps where that is known.

        Args:
            error: What the network or the loss raised.
            batch: What they were asked about.

        Returns:
            The rest of a sentence.
        """
        text = first_line(error)
        if undifferentiable := re.search(r"derivative for '?(?:aten::)?_?(\w+)_backward'? is not implemented", text):
            operation = undifferentiable[1]
            return (
                f"PyTorch has no second derivative of {operation}, and so there is no Hessian; loss and gradient work"
            )
        if batch is not None and isinstance(batch.inputs, Tensor) and "missing" in text and "argument" in text:
            if len(batch.targets) > 1:
                return f"{text}; several inputs go together, ((x1, x2), y)"
            return f"{text}; a mapping or tuple of inputs gives several arguments, ((x1, x2), y)"
        if "Long" in text and batch is not None and any(one.is_floating_point() for one in tensors_of(batch.targets)):
            return f"{text}; class numbers are whole: expected y.long()"
        if "for sparse tensors" in text:
            return f"{text}; expected sparse=False where it calls embedding or embedding_bag itself"
        if not any(word in text for word in ("dtype", "scalar type", "not implemented for 'BFloat16'", "'Half'")):
            return text
        kinds = {one.dtype for one in self._theirs.parameters() if one.is_floating_point()}
        if self._dtype is None and kinds <= {torch.bfloat16, torch.float16}:
            return f"{text}; measure it with dtype=torch.float32"
        if self._dtype is None:
            return f"{text}; measure it with dtype=torch.float64, or give data of the network's dtype"
        return (
            f"{text}; a tensor that is neither a parameter, a buffer nor an attribute has a dtype of its own: "
            "register it with register_buffer, or make it with dtype=x.dtype"
        )


class _WithLoss(nn.Module):
    """A network and a loss of (model, batch), as one network of the batch."""

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__()
        self.model, self._criterion = model, criterion

    def forward(self, batch: Any) -> Any:
        return self._criterion.raw(self.model, batch)


class _PlainWeightNorm(TorchFunctionMode):
    """Weight normalisation as g v/‖v‖: the second derivative of PyTorch's fused kernel is wrong (seen in 2.13)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch._weight_norm:
            direction, length = args[0], args[1]
            axis = args[2] if len(args) > 2 else 0
            others = [one for one in range(direction.ndim) if one != axis % direction.ndim or axis == -1]
            if not others:  # where no axis is named, vector_norm takes all
                return length * direction / direction.abs()
            return length * direction / torch.linalg.vector_norm(direction, dim=others, keepdim=True)
        return func(*args, **(kwargs or {}))
