"""A network as a function of its parameters.

Passes run on a copy of the user's layers, where modes are set and into which a forward pass writes its attributes.
Parameters and buffers are passed by `functional_call`; before each measurement the copy takes over plain attributes.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from bathymetry.core.errors import BathymetryError, InputError, first_line
from bathymetry.core.randomness import preserve_rng_state
from bathymetry.core.tensors import is_normalisation, running_statistics, unwrapped
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.contexts import is_random_in_training, twice_differentiable
from bathymetry.training.loss import Criterion

Mode = Literal["as_is", "no_dropout"]

_PLAIN = (bool, int, float, str, type(None))
_DROPOUT, _NORM_BASE = nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase
_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_MODAL = (_DROPOUT, _NORM_BASE)  # in training mode random, or with statistics to keep
_OF_MODULES = frozenset(vars(nn.Module()))  # attributes that every layer has
_DIFFERS = "its loss would differ at each evaluation"


@dataclass
class Behaviour:
    """What passes of a network were observed to do, in any dtype."""

    couples: bool = False  # an example's loss depends on the others of its batch
    draws: bool = False  # random numbers, without an effect on the loss
    writes: bool = True  # into tensors that are passed to it; until observed otherwise
    keeps: bool = False  # writes into a tensor that is neither parameter nor buffer
    changes: list[str] = field(default_factory=list)  # attributes
    differentiates: bool = False  # by its inputs, inside its forward pass


class Network:
    """A user's network, to be evaluated at any parameters in a dtype (None for its own) and mode."""

    def __init__(self, module: nn.Module, dtype: torch.dtype | None, mode: Mode = "as_is") -> None:
        self.module = unwrapped(module)
        self.behaviour = Behaviour()
        self._dtype, self._mode = dtype, mode
        self._layers = _Layers(self.module, self.cast)
        self._phase: Literal["evaluating", "estimating"] | None = None  # of running statistics
        self._passed: list[Tensor] | None = None  # copies that watched passes may write into
        self._carried: Mapping[str, Tensor] = {}
        self.twin = self._layers.own  # the copy on which passes run
        layers = list(self.twin.modules())
        self._has_weight_norm = any("WeightNorm" in _names(layer) for layer in layers)
        self._is_recurrent = any(isinstance(layer, nn.RNNBase) for layer in layers)
        self._modal = [pair for pair in self._layers.pairs if isinstance(pair[1], _MODAL) or _is_spectral(pair[1])]
        self._batch_norms = [theirs for theirs, _ in self._layers.pairs if isinstance(theirs, _BATCH_NORM)]

    def double(self) -> "Network":
        twin = Network(self.module, torch.float64, self._mode)
        twin.behaviour = self.behaviour
        return twin

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    @property
    def couples_examples(self) -> bool:
        """Whether an example's loss depends on the others of its batch, as in BatchNorm in training mode."""
        return self.behaviour.couples or (bool(self._batch_norms) and self._batch_normalisation is not None)

    @property
    def _batch_normalisation(self) -> nn.Module | None:
        """A layer that uses the statistics of its batch."""
        layers = (layer for layer in self._batch_norms if self._trains(layer) or layer.running_mean is None)
        return next(layers, None)

    @property
    def precision(self) -> float:
        """The rounding unit of the coarsest dtype that is computed in."""
        kinds = {p.dtype for p in self.module.parameters() if p.is_floating_point()}
        return max(torch.finfo(kind).eps for kind in ({self._dtype} if self._dtype else kinds))

    @property
    def running_statistics(self) -> list[str]:
        """Names of the buffers with statistics of the training data that are in use."""
        layers = dict(self.module.named_modules())
        used = [name for name in running_statistics(self.module) if not self._trains(layers[name])]
        return [f"{name}.{one}" if name else one for name in used for one in ("running_mean", "running_var")]

    def constants(self, varied: Mapping[str, Any]) -> dict[str, Tensor]:
        """All parameters that are not varied, and all buffers, by name; copied where a pass may write into them."""
        others = {n: self._guarded(self.cast(p.detach())) for n, p in self.module.named_parameters() if n not in varied}
        fixed = {**dict(self.module.named_buffers()), **self._carried}
        return {**others, **{name: self.cast(tensor.detach()).clone() for name, tensor in fixed.items()}}

    def tensors(self, varied: Mapping[str, Tensor], constants: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """All tensors of a pass by name: varied parameters, in the network's own dtypes, and the constants."""
        own = dict(self.module.named_parameters())
        cast = {name: self._guarded(p.to(self._dtype or own[name].dtype)) for name, p in varied.items()}
        return {**(self.constants(varied) if constants is None else constants), **cast}

    @contextmanager
    def carrying(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Run with other buffers, fixed parameters or tensor attributes than its own, by name."""
        named = {name for name, _ in [*self.module.named_buffers(), *self.module.named_parameters()]}
        self._carried = {name: tensor for name, tensor in tensors.items() if name in named}
        replaced: list[tuple[dict[str, Any], str, Any]] = []
        for name in tensors.keys() - named:
            layer, _, attribute = name.rpartition(".")
            attributes = vars(self.twin.get_submodule(layer))
            replaced.append((attributes, attribute, attributes.get(attribute)))
            attributes[attribute] = self.cast(tensors[name].detach()).clone()
        try:
            yield
        finally:
            self._carried = {}
            for attributes, attribute, value in replaced:
                attributes[attribute] = value

    def cast(self, tensor: Tensor) -> Tensor:
        """Convert real numbers to the dtype that is computed in."""
        return tensor.to(self._dtype) if self._dtype is not None and tensor.is_floating_point() else tensor

    def _guarded(self, value: Any) -> Any:
        """Copy a tensor that a pass might write into."""
        if isinstance(value, Tensor) and self.behaviour.writes:
            value = value.clone()
            if self._passed is not None:
                self._passed.append(value)
        return value

    @contextmanager
    def watched(self) -> Iterator[Behaviour]:
        """Observe what passes write into; random numbers may be drawn meanwhile."""
        behaviour, self._passed = self.behaviour, []
        behaviour.draws = True
        self._layers.follow()
        kept = other_tensors(self.twin)
        versions, before = [tensor._version for tensor in kept], self._layers.state()
        yield behaviour
        behaviour.keeps = [tensor._version for tensor in kept] != versions
        behaviour.changes = [n for n, value in self._layers.state().items() if n not in before or before[n] != value]
        behaviour.writes = any(copied._version > 0 for copied in self._passed)
        self._passed = None

    def estimate_statistics(self, parameters: Mapping[str, Tensor], batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Estimate the running statistics on data, each batch weighted by its rows."""
        names, constants = self.running_statistics, self.constants(parameters)
        for name in names:
            constants[name].fill_(name.endswith("running_var"))
        rows = 0
        self._phase = "estimating"
        try:
            for batch in batches:
                rows += batch.rows
                with self.measuring(), torch.no_grad():
                    for layer in filter(is_normalisation, self.twin.modules()):
                        vars(layer)["momentum"] = batch.rows / rows
                    self.output(self.tensors(parameters, constants), batch.inputs)
        finally:
            self._phase = None
        return {name: constants[name] for name in names}

    def output(self, tensors: dict[str, Tensor], inputs: Any) -> Any:
        """Run the network on a tensor, or on a tuple or mapping of arguments."""
        if isinstance(inputs, Mapping):
            return self._run(self.twin, tensors, (), {name: self._guarded(one) for name, one in inputs.items()})
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        return self._run(self.twin, tensors, tuple(map(self._guarded, arguments)))

    def raw_loss(self, tensors: dict[str, Tensor], criterion: Criterion, batch: Batch) -> Any:
        """What the loss returns for a batch: a number, or (sum, count)."""
        if not criterion.takes_model:
            return criterion.raw(self.output(tensors, batch.inputs), *batch.targets)
        tensors = {f"model.{name}": one for name, one in tensors.items()}
        return self._run(_WithLoss(self.twin, criterion), tensors, (batch.map(self._guarded).whole,))

    def _run(self, module: nn.Module, *call: Any) -> Any:
        """Run a forward pass, with gradients if it differentiates by its inputs itself."""
        if torch.is_grad_enabled() or not self.behaviour.differentiates:
            try:
                return functional_call(module, *call)
            except RuntimeError as error:
                if torch.is_grad_enabled() or "does not require grad" not in str(error):
                    raise
                self.behaviour.differentiates = True
        with torch.enable_grad():
            answer = functional_call(module, *call)
        return answer.detach() if isinstance(answer, Tensor) else answer

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Run passes in the user's modes with all operations twice differentiable; errors become `InputError`."""
        if torch.is_inference_mode_enabled():
            raise InputError("mode", "torch.inference_mode()", "leave it: nothing can be differentiated in it")
        self._layers.follow()
        if self._modal or self._phase is not None or self._mode != "as_is":
            self._set_modes()
        options = {"weight_norm": self._has_weight_norm, "recurrent": self._is_recurrent}
        with twice_differentiable(**options), preserve_rng_state():
            before = torch.get_rng_state()
            try:
                yield
            except (BathymetryError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                remedy = f"the network or the loss fails on these data or at this θ ({self.explained(error)})"
                raise InputError("model", self.kind, remedy) from error
            if not self.behaviour.draws and not torch.equal(before, torch.get_rng_state()):
                raise self.randomness_error()

    def _set_modes(self) -> None:
        """Set the modes of the copy's layers; refuse those in which there is no loss surface."""
        for theirs, own in self._layers.pairs:
            own.training = self._trains(theirs)
        for theirs, own in self._modal:
            if own.training and isinstance(theirs, _DROPOUT) and theirs.p > 0:
                raise self.randomness_error()
            if own.training and _is_spectral(own):
                remedy = "its forward pass changes it, so the loss is no function of θ alone: call model.eval() first"
                raise InputError("model", "spectral normalisation in training mode", remedy)
            if isinstance(own, _NORM_BASE):
                # in training mode the batch's own statistics are used, and none are kept
                kept = self._phase == "estimating" or not own.training
                own.track_running_stats = bool(theirs.track_running_stats) and kept

    def _trains(self, layer: nn.Module) -> bool:
        if is_normalisation(layer):
            return self._phase == "estimating" or (layer.training and self._phase is None)
        return layer.training and self._phase != "evaluating" and self._mode == "as_is"

    def coupling_error(self) -> InputError:
        """Why an example has no value of its own."""
        remedy = "its examples depend on one another, so none has a value of its own"
        layer = self._batch_normalisation
        if layer is None:
            what = f"{self.kind}, or its loss, which mixes the examples of a batch"
            first = "if the first axis of its inputs is another, such as time, put the example first (batch_first=True)"
            return InputError("model", what, f"{remedy}; {first}")
        if layer.running_mean is None:
            return InputError("model", "BatchNorm without running statistics (track_running_stats=False)", remedy)
        return InputError("model", "BatchNorm in training mode", f"{remedy}: call model.eval() first")

    def unsteady_error(self, drew: bool, ask: Callable[[], Tensor]) -> InputError:
        """Why two evaluations differ: state that is kept, or randomness, in evaluation mode too or only in training."""
        if self.behaviour.changes and not drew:
            what = f"{self.kind}, which keeps {', '.join(self.behaviour.changes[:3])} from one call to the next"
            return InputError("model", what, f"{_DIFFERS}; reset it in each call, or make it an input or a buffer")
        losses = []
        self._phase = "evaluating"
        try:
            for seed in (0, 1):
                with self.measuring(), preserve_rng_state(seed):
                    losses.append(ask())
        finally:
            self._phase = None
        return self.randomness_error(in_evaluation=not same_numbers(*losses))

    def randomness_error(self, *, in_evaluation: bool = False) -> InputError:
        """Why a random network has no loss surface, and how it gets one."""
        training = [(name, one) for name, one in self.module.named_modules() if self._trains(one)]
        if in_evaluation or not training:
            what = f"{self.kind}, in which the network or the loss draws random numbers in evaluation mode too"
            return InputError("model", what, f"{_DIFFERS}: make its noise an input, ((x, noise), y), or draw none")
        layers = [f"layer {name} ({type(one).__name__})" for name, one in training if is_random_in_training(one)]
        what = f"{layers[0]}, random in training mode" if layers else "a random function in training mode"
        remedy = "call model.eval() first"
        if self._batch_normalisation is not None:
            remedy = 'mode="no_dropout" keeps BatchNorm in training mode; after model.eval() it is another surface'
        return InputError("model", what, f"{_DIFFERS}: {remedy}")

    def explained(self, error: Exception, batch: Batch | None = None) -> str:
        """The first line of an error of the network or the loss, with a remedy where one is known."""
        text = first_line(error)
        if found := re.search(r"derivative for '?(?:aten::)?_?(\w+)_backward'? is not implemented", text):
            return f"PyTorch has no second derivative of {found[1]}, and so there is no Hessian; loss and gradient work"
        remedy = self._remedy(text, batch)
        return f"{text}; {remedy}" if remedy else text

    def _remedy(self, text: str, batch: Batch | None) -> str:
        if batch is not None and isinstance(batch.inputs, Tensor) and "missing" in text and "argument" in text:
            return "expected several inputs together, as a tuple, ((x1, x2), y), or a mapping"
        if batch is not None and "Long" in text and any(one.is_floating_point() for one in tensors_of(batch.targets)):
            return "class numbers are whole: expected y.long()"
        if "for sparse tensors" in text:
            return "expected sparse=False where it calls embedding or embedding_bag itself"
        if not any(word in text for word in ("dtype", "scalar type", "not implemented for 'BFloat16'", "'Half'")):
            return ""
        if self._dtype is not None:
            return "register a tensor that has a dtype of its own with register_buffer, or make it with dtype=x.dtype"
        if self.precision > torch.finfo(torch.float32).eps:
            return "measure it with dtype=torch.float32"
        return "measure it with dtype=torch.float64, or convert the data to the network's dtype"


class _Layers:
    """A copy of a network's layers that follows the original."""

    def __init__(self, module: nn.Module, cast: Callable[[Tensor], Tensor]) -> None:
        self._theirs, self._cast = module, cast
        self._named = dict(module.named_modules())
        self._layers = list(self._named.values())
        self._taken: dict[tuple[int, str], tuple[Tensor, int]] = {}  # the tensor that was copied, and its version
        shared = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
        shared |= {id(one): one.detach().clone() for one in other_tensors(module)}
        try:
            self.own: nn.Module = copy.deepcopy(module, shared)
        except Exception as error:
            raise InputError("model", type(module).__name__, f"expected one that can be copied ({error})") from error
        self.pairs = list(zip(module.modules(), self.own.modules(), strict=True))
        for _, own in self.pairs:
            own._backward_hooks.clear()
            own._backward_pre_hooks.clear()
            for name, value in vars(own).items():
                leaves = tree_leaves(value)  # not the parameters that an LSTM lists
                if leaves and all(isinstance(one, Tensor) and not isinstance(one, nn.Parameter) for one in leaves):
                    vars(own)[name] = tree_map(cast, value)

    def follow(self) -> None:
        """Take over the attributes that the user's layers have now; refuse a network with other layers."""
        if list(self._theirs.modules()) != self._layers:  # which compares by identity
            now = dict(self._theirs.named_modules())
            changed = [name for name in [*now, *self._named] if now.get(name) is not self._named.get(name)]
            what = f"layer {changed[0] or 'the whole'} that was replaced"
            raise InputError(
                "model", what, "make a new LossSurface: this one has the layers that the network had before"
            )
        for layer, own in self.pairs:
            attributes = vars(own)
            for name, value in vars(layer).items():
                if type(value) in _PLAIN:
                    attributes[name] = value
                elif isinstance(value, Tensor):
                    version = 0 if value.is_inference() else value._version
                    kept, kept_version = self._taken.get((id(layer), name), (None, 0))
                    if kept is not value or kept_version != version:
                        attributes[name] = self._cast(value.detach().clone())
                        self._taken[id(layer), name] = value, version
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
                attributes["sparse"] = False  # the same gradient as a dense tensor, which has products and sums

    def state(self) -> dict[str, Any]:
        """Values of plain attributes by name; of others, which object it is and how long."""
        found: dict[str, Any] = {}
        for layer_name, layer in self.own.named_modules():
            for name in vars(layer).keys() - _OF_MODULES:
                value = vars(layer)[name]
                length = len(value) if isinstance(value, list | dict | set) else 0
                full_name = f"{layer_name}.{name}" if layer_name else name
                found[full_name] = value if type(value) in _PLAIN else (id(value), length)
        return found


def other_tensors(module: nn.Module) -> list[Tensor]:
    """Tensors of a network that are neither parameters nor buffers: attributes, and gradients that it holds."""
    found: list[Tensor] = []
    for layer in module.modules():
        found += [value for value in vars(layer).values() if isinstance(value, Tensor)]
        found += [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
    return found


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in the dtype of the first, with NaN at the same places."""
    other = other.to(one)
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _names(layer: nn.Module) -> str:
    """Class names of a layer and its hooks, which name normalisations of weights in PyTorch's new and old form."""
    return " ".join(type(one).__name__ for one in (layer, *layer._forward_pre_hooks.values()))


def _is_spectral(layer: nn.Module) -> bool:
    return "SpectralNorm" in _names(layer)


class _WithLoss(nn.Module):
    """A network and a loss of (model, batch), as one network of the batch."""

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__()
        self.model, self._criterion = model, criterion

    def forward(self, batch: Any) -> Any:
        return self._criterion.raw(self.model, batch)
