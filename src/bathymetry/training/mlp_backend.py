"""The stacked backend: multilayer perceptrons of one architecture with a backward pass of their own.

Activations lie as (member, unit, example), so that every product is a batched product of contiguous matrices, and all
results go into buffers that are reused. A test compares it with automatic differentiation.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.training.ensemble import Backend, Batch, StackedTensors, flush_denormals

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "identity",
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
    """Differentiates all members together; the loss is "mse" or "cross_entropy"."""

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
        """Write every member's gradient; return the losses, float64."""
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
        """Outputs of all members; the memory is reused by the next call."""
        buffers = self._buffers_for(len(inputs))
        self._forward(inputs, True, [activation for activation, _ in buffers])
        return buffers[-1][0].transpose(1, 2)

    def _buffers_for(self, width: int) -> list[tuple[Tensor, Tensor]]:
        """Each layer's activation and error for a batch of this size, kept for later batches."""
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
