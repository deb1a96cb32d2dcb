"""Backends for general networks, vmap and loop, and the choice between them and the stacked MLPs."""

import copy
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.tensors import stream_seed
from bathymetry.training.ensemble import TRIAL_ERRORS, Backend, Batch, Ensemble
from bathymetry.training.mlp_backend import MLPBackend, activations_of

BackendName = Literal["auto", "stacked", "vmap", "loop"]
BACKENDS = get_args(BackendName)
VMAP_NUMBERS = 8_192  # input numbers per batch up to which vmap is faster on a CPU: the table in docs/decisions.md
_FALLBACKS = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)  # which vmap does not batch


class VmapBackend(Backend):
    """Any architecture without random layers or running statistics, batched by `torch.func`."""

    name = "vmap"

    def __init__(self, ensemble: Ensemble) -> None:
        self._parameters, self._gradients = ensemble.parameters, ensemble.gradients
        self._constants = _constants(ensemble.modules)
        module, criterion = ensemble.modules[0], ensemble.criterion

        def one_output(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(module, (own, constant), (inputs,))
            return output

        def one_loss(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            return criterion(one_output(own, constant, inputs), (target,))

        differentiated = grad_and_value(one_loss)
        self._shared = vmap(differentiated, in_dims=(0, 0, None, 0))
        self._own = vmap(differentiated, in_dims=(0, 0, 0, 0))
        self._outputs = vmap(one_output, in_dims=(0, 0, None))

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write every member's gradient; return the losses, float64."""
        call = self._shared if batch.shared else self._own
        gradients, losses = call(dict(self._parameters.views), self._constants, batch.inputs, batch.targets)
        for name, gradient in gradients.items():
            self._gradients.views[name].copy_(gradient)
        values: Tensor = losses.detach().double()
        return values

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Outputs of all members."""
        with torch.no_grad():
            outputs: Tensor = self._outputs(dict(self._parameters.views), self._constants, inputs)
        return outputs


class LoopBackend(Backend):
    """Networks that are differentiated one after another; their parameters are views into the stacked ones."""

    name = "loop"

    def __init__(self, ensemble: Ensemble) -> None:
        self._modules, self._criterion = ensemble.modules, ensemble.criterion
        self._members, self._seed = ensemble.members, ensemble.seed
        for position, module in enumerate(self._modules):
            module.train()
            trainable = dict(module.named_parameters())
            gradients = ensemble.gradients.member(position)
            for name, own in ensemble.parameters.member(position).items():
                trainable[name].data = own
                trainable[name].grad = gradients[name]

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write every member's gradient; return the losses, float64."""
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self.differentiate_one(batch, position) for position in range(len(self._members))])

    def differentiate_one(self, batch: Batch, position: int) -> Float[Tensor, ""]:
        """Write one member's gradient; return its loss, float64."""
        # a member's dropout is its own, whoever trains with it
        torch.manual_seed(stream_seed(self._seed, self._members[position], "dropout", batch.step))
        module = self._modules[position]
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        output = module(batch.inputs if batch.shared else batch.inputs[position])
        loss = self._criterion(output, (batch.targets[position],))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach().double()

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Outputs of all members in evaluation mode."""
        outputs = []
        with torch.no_grad():
            for module in self._modules:
                outputs.append(module.eval()(inputs))
                module.train()
        return torch.stack(outputs)

    def buffers(self) -> dict[str, Tensor]:
        """Buffers of every member, such as running statistics, as "position/name"."""
        named = ((place, pair) for place, module in enumerate(self._modules) for pair in module.named_buffers())
        return {f"{place}/{name}": buffer for place, (name, buffer) in named}


def choose_backend(requested: BackendName, ensemble: Ensemble, trial: Batch, batch_numbers: int) -> Backend:
    """Choose by the rule in the docstring of `train`; `trial` has a few examples, a batch so many input numbers."""
    activations = [activations_of(module) for module in ensemble.modules]
    first, alike = activations[0], all(one == activations[0] for one in activations)
    if requested in ("auto", "stacked") and first is not None and alike and ensemble.formula and trial.inputs.ndim == 2:
        return MLPBackend(ensemble.parameters, ensemble.gradients, first, ensemble.formula)
    if requested == "stacked":
        remedy = "only a plain multilayer perceptron on rows of numbers can take it, with loss mse or cross_entropy"
        raise InputError("backend", requested, f"{remedy}, and no label of −100")
    small = ensemble.parameters.flat.is_cuda or batch_numbers <= VMAP_NUMBERS
    if requested == "vmap" or (requested == "auto" and small):
        batched = VmapBackend(ensemble)
        problem = _problem(batched, ensemble, trial)
        if problem is None:
            return batched
        if requested == "vmap":
            raise InputError("backend", requested, f"{problem}; expected auto or loop")
    return LoopBackend(ensemble)


def _problem(batched: VmapBackend, ensemble: Ensemble, trial: Batch) -> str | None:
    """Say why `torch.func` can't stand in for the networks; None if it can."""
    first, *others = ensemble.modules
    alike = all(_differ_by_state_only(first, one) for one in others)
    if not (alike and all(map(_can_be_batched, first.modules())) and _is_steady(first, trial.inputs)):
        return "torch.func can't batch a network that is random, keeps statistics, recurs or knows its mode"
    try:
        outputs = batched.outputs(trial.inputs)
        batched.differentiate(trial)
    except TRIAL_ERRORS as error:  # such as `if h.sum() > 0` in the network or the loss
        return f"torch.func can't batch the network or the loss ({first_line(error)})"
    finally:
        ensemble.gradients.flat.zero_()
    with torch.no_grad():
        alone = torch.stack([module(trial.inputs) for module in ensemble.modules])
    close = torch.allclose(outputs, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True)
    return None if close else "torch.func gives other outputs than the networks alone"


def _is_steady(module: nn.Module, inputs: Tensor) -> bool:
    """Whether outputs depend neither on the mode nor on random numbers, and no buffer changes."""
    own = copy.deepcopy(module)
    before = {name: buffer.clone() for name, buffer in own.named_buffers()}
    outputs = []
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for seed, training in ((0, True), (1, True), (2, False)):
                torch.manual_seed(seed)
                outputs.append(own.train(training)(inputs))
    except TRIAL_ERRORS:
        return False  # the loop will say what is wrong
    same = all(isinstance(one, Tensor) and torch.equal(one, outputs[0]) for one in outputs)
    return same and all(torch.equal(buffer, before[name]) for name, buffer in own.named_buffers())


def _can_be_batched(layer: nn.Module) -> bool:
    keeps_statistics = isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats
    is_random = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
    return not (keeps_statistics or is_random or isinstance(layer, _FALLBACKS))


def _differ_by_state_only(first: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same layers with the same attributes, apart from parameters and buffers."""
    pairs = zip(first.modules(), other.modules(), strict=False)
    return all(type(one) is type(two) and _attributes(one) == _attributes(two) for one, two in pairs)


def _attributes(layer: nn.Module) -> dict[str, object]:
    return {name: _comparable(value) for name, value in vars(layer).items() if not name.startswith("_")}


def _comparable(value: object) -> object:
    """Something that can be compared by ==; objects of unknown classes count as equal."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return (value.shape, value.ravel().tolist())
    if isinstance(value, list | tuple):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else type(value)


def _constants(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Frozen parameters and buffers, (member, *shape) each."""
    each = []
    for module in modules:
        frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
        each.append(frozen | dict(module.named_buffers()))
    return {name: torch.stack([constants[name] for constants in each]) for name in each[0]}
