"""How the members of any network are differentiated: with vmap, or one after another in a loop."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bathymetry.core.randomness import seed_generators, stream_seed
from bathymetry.training.attributes import Attributes
from bathymetry.training.ensemble import Ensemble, constants

BackendName = Literal["auto", "stacked", "vmap", "loop"]
BACKENDS = get_args(BackendName)


@dataclass(frozen=True)
class Batch:
    """The examples of one step."""

    inputs: Shaped[Tensor, "..."]  # (example, *feature) if shared, else (member, example, *feature); see `padded`
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

    def padded(self, examples: int) -> int:
        """How many rows the inputs of a batch of so many examples need; what the others hold is ignored."""
        return examples

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
        self._members = ensemble.members
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
        return torch.stack([self.differentiate_one(batch, position) for position in range(len(self._members))])

    def differentiate_one(self, batch: Batch, position: int) -> Float[Tensor, ""]:
        """Write one member's gradient; return its loss, float64."""
        # a member's dropout is its own, whoever trains with it
        seed_generators(stream_seed(*self._members[position], "dropout", batch.step))
        output = self._modules[position](batch.inputs if batch.shared else _aligned(batch.inputs[position]))
        loss = self._criterion(output, (_aligned(batch.targets[position]),))
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

    def _outputs_of_one(self, inputs: Tensor, position: int) -> Tensor:
        seed_generators(stream_seed(*self._members[position], "evaluation"))
        output: Tensor = self._modules[position].eval()(inputs)
        return output

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        with torch.no_grad():
            outputs = torch.stack([self._outputs_of_one(inputs, position) for position in range(len(self._modules))])
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


def _aligned(tensor: Tensor) -> Tensor:
    """On a cache line wherever it lies in a stack: rounding depends on it."""
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def _may_change(layer: nn.Module) -> bool:
    """Whether passes may change attributes of a layer: PyTorch's own keep none."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    return bool(hooked) or not type(layer).__module__.startswith("torch.nn.")
