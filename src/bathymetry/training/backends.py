"""How the members of an ensemble are differentiated: stacked, with vmap, or one after another in a loop."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.tensors import stream_seed
from bathymetry.training.attributes import Attributes, comparable, own_attributes
from bathymetry.training.ensemble import Ensemble, StackedTensors, constants, flush_denormals

BackendName = Literal["auto", "stacked", "vmap", "loop"]
BACKENDS = get_args(BackendName)
VMAP_NUMBERS = 8_192  # input numbers per batch up to which vmap is faster on a CPU: the table in docs/decisions.md
_FALLBACKS = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)  # which vmap does not batch
_ACTIVATIONS: dict[type[nn.Module], str] = {
    one: one.__name__.lower() for one in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity)
}
_ACTIVATE: dict[str, Callable[[Tensor], Tensor]] = {  # in place
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "identity": lambda values: values,
}
_aten = torch.ops.aten
_DIFFERENTIATE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # multiply by the derivative, from activated values
    "relu": lambda error, values: _aten.threshold_backward.grad_input(error, values, 0, grad_input=error),
    "tanh": lambda error, values: _aten.tanh_backward.grad_input(error, values, grad_input=error),
    "sigmoid": lambda error, values: _aten.sigmoid_backward.grad_input(error, values, grad_input=error),
    "identity": lambda error, _: error,
}
_PRODUCTS = 1e8  # room above the smallest normal number for what output errors are multiplied by


@dataclass(frozen=True)
class Batch:
    """The examples of one step."""

    inputs: Shaped[Tensor, "..."]  # (example, *feature) if shared, else (member, example, *feature)
    targets: Shaped[Tensor, "member example *target"]
    shared: bool  # whether all members get the same inputs
    step: int = 0  # selects the random stream of layers such as dropout


class Backend(ABC):
    """How the members of an ensemble are differentiated."""

    name: ClassVar[str]
    missing: Sequence[Collection[str]] = ()  # of every member, the parameters that the last loss does not depend on
    attributes = Attributes("build", {})  # which training may change

    @abstractmethod
    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write every member's gradient, zeros where it is missing; return the losses, float64."""

    @abstractmethod
    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Outputs of all members in evaluation mode; the memory may be reused by the next call."""

    def buffers(self) -> dict[str, Tensor]:
        """Buffers that training changes, such as running statistics, as "position/name"."""
        return {}

    def copied(self) -> dict[str, Any]:
        """Copies of the buffers and of the plain attributes."""
        buffers = {name: buffer.clone() for name, buffer in self.buffers().items()}
        return {"buffers": buffers, "attributes": self.attributes.plain()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `copied` returned, for all members or for some."""
        self.attributes.load(state["attributes"])


def activations_of(module: nn.Module) -> list[str] | None:
    """The activation after each layer but the last; None if it is not a plain multilayer perceptron."""
    if type(module) is not nn.Sequential or not all(p.requires_grad for p in module.parameters()):
        return None
    layers = list(module)
    linear, between = layers[0::2], layers[1::2]
    if len(layers) % 2 == 0 or not all(type(layer) is nn.Linear and layer.bias is not None for layer in linear):
        return None
    for one in (module, *layers):
        if one._forward_hooks or one._forward_pre_hooks or one._backward_hooks or "forward" in vars(one):
            return None
    parameters = {id(parameter) for layer in linear for parameter in (layer.weight, layer.bias)}
    if len(parameters) < 2 * len(linear) or not all(type(one) in _ACTIVATIONS for one in between):
        return None
    return [_ACTIVATIONS[type(one)] for one in between]


class MLPBackend(Backend):
    """Multilayer perceptrons with a backward pass of their own; the loss is "mse" or "cross_entropy".

    Activations lie as (member, unit, example), so that every product is a batched product of contiguous matrices, and
    all results go into buffers that are reused.
    """

    name = "stacked"

    def __init__(
        self, parameters: StackedTensors, gradients: StackedTensors, activations: Sequence[str], loss: str
    ) -> None:
        blocks, gradient_blocks = list(parameters.views.values()), list(gradients.views.values())
        self._members = parameters.members
        self._weights, self._biases = blocks[0::2], [bias.unsqueeze(2) for bias in blocks[1::2]]
        self._weight_gradients, self._bias_gradients = gradient_blocks[0::2], gradient_blocks[1::2]
        self._activations = [*activations, "identity"]
        self._loss = loss
        self._buffers: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        buffers = self._buffers_for(batch.inputs.shape[-2])
        self._forward(batch.inputs, batch.shared, [activation for activation, _ in buffers])
        losses = self._output_error(buffers[-1][0], batch.targets, buffers[-1][1])
        for layer in reversed(range(len(self._weights))):
            error = buffers[layer][1]
            torch.sum(error, 2, out=self._bias_gradients[layer])
            if layer == 0:
                self._first_weight_gradient(error, batch)
                break
            below, error_below = buffers[layer - 1]
            torch.bmm(error, below.transpose(1, 2), out=self._weight_gradients[layer])
            torch.bmm(self._weights[layer].transpose(1, 2), error, out=error_below)
            _DIFFERENTIATE[self._activations[layer - 1]](error_below, below)
        return losses

    def outputs(self, inputs: Float[Tensor, "example feature"]) -> Float[Tensor, "member example output"]:
        buffers = self._buffers_for(len(inputs))
        self._forward(inputs, True, [activation for activation, _ in buffers])
        return buffers[-1][0].transpose(1, 2)

    def _buffers_for(self, width: int) -> list[tuple[Tensor, Tensor]]:
        """Each layer's activation and error for a batch of this size, reused by later batches."""
        if width not in self._buffers:
            if len(self._buffers) > 4:
                self._buffers.clear()
            shapes = [(self._members, weight.shape[1], width) for weight in self._weights]
            self._buffers[width] = [(self._weights[0].new_empty(s), self._weights[0].new_empty(s)) for s in shapes]
        return self._buffers[width]

    def _forward(self, inputs: Tensor, shared: bool, into: Sequence[Tensor]) -> None:
        if shared:
            joined = self._weights[0].flatten(0, 1)
            torch.addmm(self._biases[0].flatten(0, 1), joined, inputs.T, out=into[0].flatten(0, 1))
        else:
            torch.baddbmm(self._biases[0], self._weights[0], inputs.transpose(1, 2), out=into[0])
        _ACTIVATE[self._activations[0]](into[0])
        for layer, (below, here) in enumerate(pairwise(into), start=1):
            torch.baddbmm(self._biases[layer], self._weights[layer], below, out=here)
            _ACTIVATE[self._activations[layer]](here)

    def _first_weight_gradient(self, error: Tensor, batch: Batch) -> None:
        if batch.shared:
            torch.mm(error.flatten(0, 1), batch.inputs, out=self._weight_gradients[0].flatten(0, 1))
        else:
            torch.bmm(error, batch.inputs, out=self._weight_gradients[0])

    def _output_error(
        self, outputs: Tensor, targets: Shaped[Tensor, "member example *target"], error: Tensor
    ) -> Float[Tensor, " member"]:
        """Write ∂loss/∂output; return the losses, float64."""
        examples = outputs.shape[2]
        if self._loss == "mse":
            entries = outputs[0].numel()
            torch.sub(outputs, targets.transpose(1, 2), out=error)
            losses = error.square().sum((1, 2), dtype=torch.float64) / entries
            error.mul_(2 / entries)
            return losses
        classes = targets.unsqueeze(1)
        torch.log_softmax(outputs, 1, out=error)
        losses = -error.gather(1, classes).sum((1, 2), dtype=torch.float64) / examples
        error.exp_().scatter_add_(1, classes, error.new_full((1, 1, 1), -1.0).expand_as(classes)).div_(examples)
        flush_denormals(error, _PRODUCTS)  # the probability of a class that was ruled out long ago
        return losses


class VmapBackend(Backend):
    """Any architecture without random layers or running statistics, batched by `torch.func`."""

    name = "vmap"

    def __init__(self, ensemble: Ensemble) -> None:
        self._parameters, self._gradients = ensemble.parameters, ensemble.gradients
        each = [constants(module) for module in ensemble.modules]
        self._constants = {name: torch.stack([one[name] for one in each]) for name in each[0]}
        module, criterion = copy.deepcopy(ensemble.modules[0]), ensemble.criterion
        places = _places(module)
        self._module, self._criterion, self._members = module, criterion, len(ensemble.members)
        self._missing: dict[torch.Size, tuple[str, ...]] = {}  # by the shape of a batch

        def one_output(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor) -> Any:
            tensors = {place: tensor for name, tensor in (own | constant).items() for place in places[name]}
            return functional_call(module, tensors, (inputs,), tie_weights=False)

        def one_loss(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            return criterion(one_output(own, constant, inputs), (target,))

        differentiated = grad_and_value(one_loss)
        self._shared = vmap(differentiated, in_dims=(0, 0, None, 0))
        self._own = vmap(differentiated, in_dims=(0, 0, 0, 0))
        self._outputs = vmap(one_output, in_dims=(0, 0, None))

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        call = self._shared if batch.shared else self._own
        gradients, losses = call(dict(self._parameters.views), self._constants, batch.inputs, batch.targets)
        for name, gradient in gradients.items():
            self._gradients.views[name].copy_(gradient)
        if batch.inputs.shape not in self._missing:
            self._missing[batch.inputs.shape] = self._missing_in(batch)
        self.missing = [self._missing[batch.inputs.shape]] * self._members
        return losses.detach().double()  # type: ignore[no-any-return]

    def _missing_in(self, batch: Batch) -> tuple[str, ...]:
        """The parameters that the losses on a batch of this shape do not depend on; `torch.func` calls them zero."""
        output = self._module(batch.inputs if batch.shared else batch.inputs[0])
        parameters = {name: one for name, one in self._module.named_parameters() if one.requires_grad}
        loss = self._criterion(output, (batch.targets[0],))
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        return tuple(name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None)

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        with torch.no_grad():
            return self._outputs(dict(self._parameters.views), self._constants, inputs)  # type: ignore[no-any-return]


def _places(module: nn.Module) -> dict[str, list[str]]:
    """Where each parameter and buffer is registered, by its first name; once per layer.

    `functional_call` with its own list, which has a layer under each of the layer's names, leaves its arguments behind.
    """
    names: dict[int, list[str]] = {}
    for prefix, layer in module.named_modules():
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                names.setdefault(id(tensor), []).append(f"{prefix}.{name}" if prefix else name)
    return {each[0]: each for each in names.values()}


class LoopBackend(Backend):
    """Networks that are differentiated one after another; their parameters are views into the stacked ones."""

    name = "loop"

    def __init__(self, ensemble: Ensemble) -> None:
        self._modules, self._criterion = ensemble.modules, ensemble.criterion
        self._members, self._seed = ensemble.members, ensemble.seed
        self._trainable: list[list[tuple[str, nn.Parameter, Tensor]]] = []  # of every member, with where gradients go
        self.missing: list[Collection[str]] = [()] * len(self._members)
        layers: dict[str, nn.Module] = {}
        for position, module in enumerate(self._modules):
            module.train()
            trainable = dict(module.named_parameters())
            for name, own in ensemble.parameters.member(position).items():
                trainable[name].data = own
                trainable[name].grad = None
            gradients = ensemble.gradients.member(position)
            self._trainable.append([(name, trainable[name], gradient) for name, gradient in gradients.items()])
            layers |= {f"{position}/{name}": one for name, one in module.named_modules() if _may_change(one)}
        self.attributes = Attributes("build", layers, ensemble.parameters.flat.device)

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self.differentiate_one(batch, position) for position in range(len(self._members))])

    def differentiate_one(self, batch: Batch, position: int) -> Float[Tensor, ""]:
        """Write one member's gradient; return its loss, float64."""
        # a member's dropout is its own, whoever trains with it
        torch.manual_seed(stream_seed(self._seed, self._members[position], "dropout", batch.step))
        output = self._modules[position](batch.inputs if batch.shared else batch.inputs[position])
        loss = self._criterion(output, (batch.targets[position],))
        loss.backward()  # type: ignore[no-untyped-call]
        missing = []
        for name, parameter, gradient in self._trainable[position]:
            if parameter.grad is None:
                missing.append(name)
                gradient.zero_()
            else:
                gradient.copy_(parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad)
                parameter.grad = None
        self.missing[position] = tuple(missing)
        return loss.detach().double()

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        with torch.no_grad():
            outputs = torch.stack([module.eval()(inputs) for module in self._modules])
        for module in self._modules:
            module.train()
        return outputs

    def buffers(self) -> dict[str, Tensor]:
        named = ((place, pair) for place, module in enumerate(self._modules) for pair in module.named_buffers())
        return {f"{place}/{name}": buffer for place, (name, buffer) in named}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        for key, values in state["buffers"].items():
            place, _, name = key.partition("/")
            self._modules[int(place)].get_buffer(name).copy_(values)


def _may_change(layer: nn.Module) -> bool:
    """Whether passes may change attributes of a layer: PyTorch's own keep none."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return bool(hooked) or not type(layer).__module__.startswith("torch.nn.")


def choose_backend(requested: BackendName, ensemble: Ensemble, trial: Batch, batch_numbers: int) -> tuple[Backend, str]:
    """Choose by the rule in the docstring of `train`, and say why members are not batched.

    `trial` is a batch of a few examples in the form that the training uses; a real one has `batch_numbers` numbers.
    """
    inputs = trial.inputs if trial.shared else trial.inputs[0]
    activations = [activations_of(module) for module in ensemble.modules]
    first, same = activations[0], all(one == activations[0] for one in activations)
    if requested in ("auto", "stacked") and first is not None and same and ensemble.formula and inputs.ndim == 2:
        return MLPBackend(ensemble.parameters, ensemble.gradients, first, ensemble.formula), ""
    if requested == "stacked":
        remedy = "only a plain multilayer perceptron on rows of numbers can take it, with loss mse or cross_entropy"
        raise InputError("backend", requested, f"{remedy}, and no label of −100")
    small = ensemble.parameters.flat.is_cuda or batch_numbers <= VMAP_NUMBERS
    problem: str | None = "" if requested == "loop" else f"a batch has more than {VMAP_NUMBERS:,} input numbers"
    if requested == "vmap" or (requested == "auto" and small):
        batched = VmapBackend(ensemble)
        problem = _problem(batched, ensemble, inputs, trial)
        if problem is None:
            return batched, ""
        if requested == "vmap":
            raise InputError("backend", requested, f"{problem}; expected auto or loop")
    return LoopBackend(ensemble), f"Members were trained one by one: {problem}." if problem else ""


def _problem(batched: VmapBackend, ensemble: Ensemble, inputs: Tensor, trial: Batch) -> str | None:
    """Say why `torch.func` can't stand in for the networks, of which copies are called; None if it can."""
    first, *others = ensemble.modules
    layer = next((type(one).__name__ for one in first.modules() if not _can_be_batched(one)), None)
    if layer is not None:
        return f"torch.func can't batch {layer}, which is random, recurs or keeps running statistics"
    if not all(_differ_by_state_only(first, one) for one in others):
        return "torch.func can't batch networks whose layers differ"
    if not _is_steady(first, inputs):
        return "torch.func can't batch a network that is random, writes buffers or attributes, or depends on its mode"
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = batched.outputs(inputs)
            batched.differentiate(trial)
    except Exception as error:  # noqa: BLE001 - such as `if h.sum() > 0` in the network or the loss
        return f"torch.func can't batch the network or the loss ({first_line(error)})"
    finally:
        ensemble.gradients.flat.zero_()
    with torch.no_grad():
        alone = torch.stack([copy.deepcopy(module)(inputs) for module in ensemble.modules])
    close = torch.allclose(outputs, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True)
    return None if close else "torch.func gives other outputs than the networks alone"


def _is_steady(module: nn.Module, inputs: Tensor) -> bool:
    """Whether outputs depend neither on the mode nor on random numbers, and no buffer and no attribute changes."""
    own = copy.deepcopy(module)
    before = _state(own)
    outputs = []
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for seed, training in ((0, True), (1, True), (2, False)):
                torch.manual_seed(seed)
                outputs.append(own.train(training)(inputs))
    except Exception:  # noqa: BLE001 - the loop will say what is wrong
        return False
    same = all(isinstance(one, Tensor) and torch.equal(one, outputs[0]) for one in outputs)
    return same and _state(own) == before


def _state(module: nn.Module) -> list[object]:
    buffers = {name: comparable(buffer) for name, buffer in module.named_buffers()}
    return [
        buffers,
        *({name: comparable(one) for name, one in own_attributes(layer).items()} for layer in module.modules()),
    ]


def _can_be_batched(layer: nn.Module) -> bool:
    keeps_statistics = isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats
    is_random = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
    return not (keeps_statistics or is_random or isinstance(layer, _FALLBACKS))


def _differ_by_state_only(first: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same layers with the same attributes, apart from parameters and buffers."""
    pairs = zip(first.modules(), other.modules(), strict=False)
    return all(type(one) is type(two) and _public(one) == _public(two) for one, two in pairs)


def _public(layer: nn.Module) -> dict[str, object]:
    return {name: comparable(one, 0) for name, one in own_attributes(layer).items() if not name.startswith("_")}
