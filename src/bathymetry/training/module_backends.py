"""The general path: any network that `torch.func` can batch, all members differentiated in one call."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.streams import stream_seed
from bathymetry.training.loss import Criterion, Loss
from bathymetry.training.mlp_backend import Batch, PerceptronStack, StackedTensors, activations_of, stack


class FunctionalStack:
    """Networks of any one architecture, without random layers or running statistics.

    Args:
        module: One of the members, whose structure all share.
        parameters: The ensemble's trainable parameters.
        gradients: Where the gradients go.
        constants: Frozen parameters and buffers, (member, *shape) each.
        loss: The mean loss over a batch.
    """

    name = "batched by torch.func"

    def __init__(
        self,
        module: nn.Module,
        parameters: StackedTensors,
        gradients: StackedTensors,
        constants: Mapping[str, Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self._parameters, self._gradients, self._constants = parameters, gradients, dict(constants)

        def one_output(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(module, (own, constant), (inputs,))
            return output

        def one_loss(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            return loss(one_output(own, constant, inputs), target)

        differentiated = grad_and_value(one_loss)
        self._shared = vmap(differentiated, in_dims=(0, 0, None, 0))
        self._own = vmap(differentiated, in_dims=(0, 0, 0, 0))
        self._outputs = vmap(one_output, in_dims=(0, 0, None))

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write the gradient of every member's loss on a batch.

        Args:
            batch: The same inputs for all members, or each member's own.

        Returns:
            The losses at the parameters as they are, float64.
        """
        call = self._shared if batch.shared else self._own
        gradients, losses = call(dict(self._parameters.views), self._constants, batch.inputs, batch.targets)
        for name, gradient in gradients.items():
            self._gradients.views[name].copy_(gradient)
        values: Tensor = losses.detach().double()
        return values

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        with torch.no_grad():
            outputs: Tensor = self._outputs(dict(self._parameters.views), self._constants, inputs)
        return outputs


class SeparateStack:
    """Networks that are trained in turn, their parameters nevertheless in one buffer.

    Args:
        modules: The members; their parameters become views into the buffers.
        parameters: The ensemble's trainable parameters.
        gradients: Where the gradients go.
        loss: The mean loss over a batch.
        members: The members' numbers.
        seed: The seed of the run, for random layers.
    """

    name = "one by one"

    def __init__(
        self,
        modules: Sequence[nn.Module],
        parameters: StackedTensors,
        gradients: StackedTensors,
        loss: Callable[[Tensor, Tensor], Tensor],
        members: range,
        seed: int,
    ) -> None:
        self.modules, self._loss, self._members, self._seed = modules, loss, members, seed
        self.step = 0
        for position, module in enumerate(modules):
            module.train()
            trainable = dict(module.named_parameters())
            for name, own in parameters.member(position).items():
                trainable[name].data = own
                trainable[name].grad = gradients.member(position)[name]

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write the gradient of every member's loss on a batch.

        Args:
            batch: The same inputs for all members, or each member's own.

        Returns:
            The losses at the parameters as they are, float64.
        """
        losses = []
        with torch.random.fork_rng(devices=[]):
            for position, module in enumerate(self.modules):
                # a member's dropout is its own, whoever is trained beside it
                torch.manual_seed(stream_seed(self._seed, self._members[position], "dropout", self.step))
                for parameter in module.parameters():
                    if parameter.grad is not None:
                        parameter.grad.zero_()
                inputs = batch.inputs if batch.shared else batch.inputs[position]
                loss = self._loss(module(inputs), batch.targets[position])
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach().double())
        self.step += 1
        return torch.stack(losses)

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs, in evaluation mode.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        with torch.no_grad():
            answers = []
            for module in self.modules:
                module.eval()
                answers.append(module(inputs))
                module.train()
        return torch.stack(answers)


_REFUSALS = (RuntimeError, IndexError, ValueError, TypeError, AttributeError, AssertionError)
Path = Literal["auto", "stacked", "functional", "separate"]


@runtime_checkable
class Stack(Protocol):
    """What every path offers: a gradient for all members, and their outputs."""

    name: str

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]: ...

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]: ...


@dataclass(frozen=True)
class Ensemble:
    """Networks of one architecture, ready to be trained together."""

    modules: Sequence[nn.Module]  # as they were built; of the separate path, as they are
    parameters: StackedTensors
    gradients: StackedTensors
    stack: Stack


def assemble(
    modules: Sequence[nn.Module],
    loss: Loss,
    criterion: Criterion,
    members: range,
    seed: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    path: Path = "auto",
    some_inputs: Tensor | None = None,
    some_targets: Tensor | None = None,
) -> Ensemble:
    """Stack the members by the fastest path that suits them.

    Args:
        modules: The members.
        loss: Which loss.
        criterion: The same loss, as it is called on outputs and targets.
        members: Their numbers.
        seed: The seed of the run.
        dtype: What to compute in.
        device: Where to compute.
        path: A path to take instead of the fastest: for tests and comparisons.
        some_inputs: A few inputs, to try whether a network is the same function whenever it is asked.
        some_targets: Their targets, (member, example, ...), to try whether the loss can be batched.

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

    def function(output: Tensor, target: Tensor) -> Tensor:
        return criterion(output, (target,))

    in_rows = some_inputs is None or some_inputs.ndim == 2
    alike = all(activations_of(module) == activations for module in modules)
    plain = activations is not None and alike and in_rows and isinstance(loss, str)
    if path == "stacked" and not plain:
        remedy = "only a plain multilayer perceptron on rows of numbers can take it, with loss mse or cross_entropy"
        raise InputError("path", path, f"{remedy}, and no label of −100")
    if path in ("auto", "stacked") and activations is not None and plain:
        return Ensemble(modules, parameters, gradients, PerceptronStack(parameters, gradients, activations, str(loss)))
    steady = _can_be_batched(modules[0]) and all(_differ_by_state_only(modules[0], one) for one in modules[1:])
    steady = steady and (some_inputs is None or all(_is_steady(module, some_inputs) for module in modules[:1]))
    if path == "functional" and not steady:
        raise InputError("path", path, "a network that is random, keeps statistics or knows its mode goes one by one")
    if path in ("auto", "functional") and steady:
        constants = _constants(modules)
        functional = FunctionalStack(modules[0], parameters, gradients, constants, function)
        if some_inputs is None or _can_stand_in(functional, modules, gradients, some_inputs, some_targets, path):
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


def _can_stand_in(
    functional: FunctionalStack,
    modules: Sequence[nn.Module],
    gradients: StackedTensors,
    inputs: Tensor,
    targets: Tensor | None,
    path: Path,
) -> bool:
    """Try whether `vmap` takes network and loss, and whether each member answers as the first with its parameters."""
    try:
        outputs = functional.outputs(inputs)
        if targets is not None:
            functional.differentiate(Batch(inputs, targets, shared=True))
    except _REFUSALS as error:  # such as `if h.sum() > 0` in either of the two
        if path == "functional":
            remedy = f"torch.func can't batch the network or the loss ({first_line(error)}); expected auto or separate"
            raise InputError("path", path, remedy) from error
        return False
    finally:
        gradients.flat.zero_()
    if path == "functional":
        return True
    with torch.no_grad():
        alone = torch.stack([module(inputs) for module in modules])
    return torch.allclose(outputs, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True)


def _differ_by_state_only(first: nn.Module, other: nn.Module) -> bool:
    """Tell whether two networks have the same layers with the same attributes beside parameters and buffers."""
    pairs = zip(first.modules(), other.modules(), strict=False)
    return all(type(one) is type(two) and _attributes(one) == _attributes(two) for one, two in pairs)


def _attributes(layer: nn.Module) -> dict[str, object]:
    return {name: _comparable(value) for name, value in vars(layer).items() if not name.startswith("_")}


def _comparable(value: object) -> object:
    """Give what can be compared by ==; objects that nothing is known of count as equal."""
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.detach().cpu().flatten().tolist())
    if isinstance(value, np.ndarray):
        return (value.shape, value.ravel().tolist())
    if isinstance(value, list | tuple):
        return [_comparable(one) for one in value]
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items()}
    return value if isinstance(value, bool | int | float | str | None) else type(value)


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
