"""The fast path: a stack of multilayer perceptrons with a backward pass of its own.

Activations lie as (member, unit, input), so that every product is a batched product of contiguous matrices, and all
results go into buffers that are made once. Held to automatic differentiation, its slow twin, by a test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from bathymetry.core.showing import readable
from bathymetry.core.streams import stream
from bathymetry.data.examples import Examples
from bathymetry.training.denormals import drop_nothing


@readable
class StackedTensors:
    """One named tensor or more, for every member of an ensemble."""

    flat: Float[Tensor, " entry"]  # members × parameters entries, one block a name
    views: Mapping[str, Tensor] = field(repr=False)  # name → (member, *shape), views into `flat`
    members: int

    def zeros_like(self) -> "StackedTensors":
        """Give zeros of the same layout.

        Returns:
            New stacked tensors in a buffer of their own.
        """
        return _lay_out(torch.zeros_like(self.flat), self.shapes, self.members)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor of one member, by name."""
        return {name: tuple(view.shape[1:]) for name, view in self.views.items()}

    def pieces(self, chosen: Sequence[int] | None) -> list[Tensor]:
        """Cut the buffer for an optimiser.

        Args:
            chosen: Positions of the members wanted; None for all of them.

        Returns:
            Contiguous views that together hold those members' entries: the whole buffer if all are wanted.
        """
        if chosen is None:
            return [self.flat]
        return [view[member] for member in chosen for view in self.views.values()]

    def member(self, position: int) -> dict[str, Tensor]:
        """Give one member's tensors.

        Args:
            position: Its place in the stack.

        Returns:
            Views by name.
        """
        return {name: view[position] for name, view in self.views.items()}

    def vectors(self) -> Float[Tensor, "member parameter"]:
        """Give each member's tensors as one row, in the order of `nn.Module.parameters()`.

        Returns:
            A copy of shape (member, parameter).
        """
        return torch.cat([view.reshape(self.members, -1) for view in self.views.values()], dim=1)


def stack(tensors: Sequence[Mapping[str, Tensor]], dtype: torch.dtype, device: torch.device) -> StackedTensors:
    """Stack every member's tensors.

    Args:
        tensors: One mapping a member, with the same names and shapes.
        dtype: The dtype of the stack.
        device: Where it lies.

    Returns:
        A copy of them all in one buffer.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors[0].items()}
    entries = len(tensors) * sum(prod(shape) for shape in shapes.values())
    stacked = _lay_out(torch.empty(entries, dtype=dtype, device=device), shapes, len(tensors))
    for position, member in enumerate(tensors):
        for name, tensor in member.items():
            stacked.views[name][position].copy_(tensor.detach())
    return stacked


def _lay_out(flat: Tensor, shapes: Mapping[str, tuple[int, ...]], members: int) -> StackedTensors:
    views, start = {}, 0
    for name, shape in shapes.items():
        end = start + members * prod(shape)
        views[name] = flat[start:end].view(members, *shape)
        start = end
    return StackedTensors(flat, views, members)


@dataclass(frozen=True)
class Batch:
    """What an ensemble learns from in one step."""

    inputs: Shaped[Tensor, "..."]  # (example, *feature) if shared, else (member, example, *feature)
    targets: Shaped[Tensor, "member example *target"]
    shared: bool  # whether all members see the same inputs


def data_order(
    examples: int, batch_size: int, members: range, seed: int, epoch: int
) -> list[Int[Tensor, "member example"]]:
    """Deal an epoch's batches to every member, each in an order of its own.

    Args:
        examples: How many examples there are.
        batch_size: Examples a batch; the last batch is what is left.
        members: The members' numbers.
        seed: The seed of the run.
        epoch: Which epoch, from 0.

    Returns:
        Positions of the examples, one tensor a batch; every example once an epoch.
    """
    orders = [torch.randperm(examples, generator=stream(seed, member, "data order", epoch)) for member in members]
    return list(torch.split(torch.stack(orders), batch_size, dim=1))


class Gatherer:
    """Gathers each member's batch from the examples, into memory that is used again.

    Args:
        examples: The examples, on the device where the ensemble is.
        targets: One set of targets for all members, or a member's own: (member, example, *target).
        own_targets: Whether `targets` has that leading member axis.
        dtype: What the network computes in.
    """

    def __init__(self, examples: Examples, targets: Tensor, own_targets: bool, dtype: torch.dtype) -> None:
        self._examples, self._targets, self._own_targets, self._dtype = examples, targets, own_targets, dtype

    def gather(self, positions: Int[Tensor, "member example"]) -> Batch:
        """Gather one batch.

        Args:
            positions: Which examples each member sees.

        Returns:
            The batch, each member's inputs its own.
        """
        members, size = positions.shape
        device = self._examples.inputs.device
        positions = positions.to(device)
        chosen = self._examples.inputs.index_select(0, positions.flatten())
        inputs = self._examples.scaled(chosen, self._dtype).view(members, size, *chosen.shape[1:])
        if self._own_targets:
            rows = torch.arange(members, device=device)[:, None]
            return Batch(inputs, self._targets[rows, positions], shared=False)
        return Batch(inputs, self._targets[positions], shared=False)


_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "identity",
}
_PRODUCTS = 1e8  # room above the smallest normal number for what output errors are multiplied by


def activations_of(module: nn.Module) -> list[str] | None:
    """Tell whether a network is a perceptron that this path can train.

    Args:
        module: Any network.

    Returns:
        The activation after each layer but the last; None if it is another kind of network.
    """
    if type(module) is not nn.Sequential or not all(p.requires_grad for p in module.parameters()):
        return None
    layers = list(module)
    linear, between = layers[0::2], layers[1::2]
    if len(layers) % 2 == 0 or not all(type(layer) is nn.Linear and layer.bias is not None for layer in linear):
        return None
    if any(one._forward_hooks or one._forward_pre_hooks or one._backward_hooks for one in (module, *layers)):
        return None
    if any("forward" in vars(one) for one in (module, *layers)):
        return None
    parameters = [parameter for layer in linear for parameter in (layer.weight, layer.bias)]
    if len({id(parameter) for parameter in parameters}) < len(parameters) or not all(
        type(one) in _ACTIVATIONS for one in between
    ):
        return None
    return [_ACTIVATIONS[type(one)] for one in between]


class PerceptronStack:
    """Multilayer perceptrons of one architecture, differentiated together.

    Args:
        parameters: The ensemble's weights and biases, in the order of the layers.
        gradients: Where the gradients go.
        activations: The activation after each layer but the last.
        loss: "mse" or "cross_entropy".
    """

    name = "stacked perceptrons"

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
        """Write the gradient of every member's loss on a batch.

        Args:
            batch: The same inputs for all members, or each member's own.

        Returns:
            The losses at the parameters as they are, float64.
        """
        width = batch.inputs.shape[-2]
        buffers = self._buffers_for(width)
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
            _through_activation(self._activations[layer - 1], error_below, below)
        return losses

    def outputs(self, inputs: Float[Tensor, "example feature"]) -> Float[Tensor, "member example output"]:
        """Ask every member the same inputs.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        buffers = self._buffers_for(len(inputs))
        self._forward(inputs, True, [activation for activation, _ in buffers])
        return buffers[-1][0].transpose(1, 2)

    def _buffers_for(self, width: int) -> list[tuple[Tensor, Tensor]]:
        """Give each layer's activation and error for a batch of this size, kept for the next batch like it."""
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
        _activate(self._activations[0], into[0])
        for layer, (below, here) in enumerate(pairwise(into), start=1):
            torch.baddbmm(self._biases[layer], self._weights[layer], below, out=here)
            _activate(self._activations[layer], here)

    def _first_weight_gradient(self, error: Tensor, batch: Batch) -> None:
        if batch.shared:
            torch.mm(error.flatten(0, 1), batch.inputs, out=self._weight_gradients[0].flatten(0, 1))
        else:
            torch.bmm(error, batch.inputs, out=self._weight_gradients[0])

    def _output_error(
        self, outputs: Tensor, targets: Shaped[Tensor, "member example *target"], error: Tensor
    ) -> Tensor:
        """Write ∂loss/∂output and give the losses, (member,), float64."""
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
        drop_nothing(error, _PRODUCTS)
        return losses


def _activate(activation: str, values: Tensor) -> None:
    match activation:
        case "relu":
            values.relu_()
        case "tanh":
            values.tanh_()
        case "sigmoid":
            values.sigmoid_()


def _through_activation(activation: str, error: Tensor, activated: Tensor) -> None:
    """Multiply by the activation's derivative, in place, known from what it gave."""
    match activation:
        case "relu":
            torch.ops.aten.threshold_backward.grad_input(error, activated, 0, grad_input=error)
        case "tanh":
            torch.ops.aten.tanh_backward.grad_input(error, activated, grad_input=error)
        case "sigmoid":
            torch.ops.aten.sigmoid_backward.grad_input(error, activated, grad_input=error)
