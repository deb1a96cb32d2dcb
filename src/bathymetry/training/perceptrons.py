"""Multilayer perceptrons, differentiated as one stack of matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.training.backends import Backend, Batch
from bathymetry.training.ensemble import StackedTensors, flush_denormals, whole_vectors
from bathymetry.training.products import multiply, uses_onednn

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
_ALIGNED = 16  # bytes, on which MKL's rounding depends
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


def activations_of_all(modules: Sequence[nn.Module]) -> list[str] | None:
    """What `activations_of` says of all modules; None if they differ."""
    first, *others = map(activations_of, modules)
    return first if all(one == first for one in others) else None


class MLPBackend(Backend):
    """Multilayer perceptrons with a backward pass of their own; the loss is "mse" or "cross_entropy".

    Activations lie as (member, unit, example), so that every product is a batched product of contiguous matrices, and
    all results go into buffers that are reused.

    A member's numbers are the same in any stack. MKL rounds by the alignment of some operands, by how many of a
    product's last rows are left over, and differently for one matrix alone; so there are as many examples, the last of
    them zeros, as align every member's activations, and products of all members' rows at once have whole groups of
    rows. docs/decisions.md has the measurements.
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
        self._buffers: dict[int, list[tuple[_Activations, _Activations]]] = {}
        first = self._weights[0]
        units, features = first.shape[1:]
        self._aligned = _ALIGNED // first.element_size()  # numbers
        self._joint = features == 1 or features % self._aligned == 0  # if all members get the same inputs
        self._rows_aligned = units * features % self._aligned == 0
        rows = whole_vectors(first.shape[0] * units)
        self._first = [one.as_strided((rows, features), (features, 1)) for one in (first, self._weight_gradients[0])]
        widths = [features, *(weight.shape[1] for weight in self._weights)]
        self._multiple = max(self._aligned // gcd(width, self._aligned) for width in widths)
        self._minus_one = first.new_full((1, 1, 1), -1.0)
        self._first_bias = self._biases[0].as_strided((rows, 1), (1, 1))

    def padded(self, examples: int) -> int:
        return -(-examples // self._multiple) * self._multiple

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        buffers = self._buffers_for(batch.inputs.shape[-2])
        inputs = self._inputs(batch.inputs, batch.shared)
        self._forward(inputs, [activation for activation, _ in buffers])
        losses = self._output_error(buffers[-1][0].values, batch.targets, buffers[-1][1].values)
        for layer in reversed(range(len(self._weights))):
            error = buffers[layer][1]
            torch.sum(error.values, 2, out=self._bias_gradients[layer])
            if layer == 0:
                if inputs.ndim == 2:
                    torch.mm(error.rows, inputs, out=self._first[1])
                else:
                    multiply(error.values, inputs, self._weight_gradients[0])
                break
            below, error_below = buffers[layer - 1]
            multiply(error.values, below.values.transpose(1, 2), self._weight_gradients[layer])
            multiply(self._weights[layer].transpose(1, 2), error.values, error_below.values)
            _DIFFERENTIATE[self._activations[layer - 1]](error_below.flat, below.flat)
        return losses

    def outputs(self, inputs: Float[Tensor, "example feature"]) -> Float[Tensor, "member example output"]:
        examples = len(inputs)
        width = self.padded(examples)
        inputs = nn.functional.pad(inputs, (0, 0, 0, width - examples)) if width > examples else inputs
        buffers = self._buffers_for(width)
        self._forward(self._inputs(inputs, True), [activation for activation, _ in buffers])
        return buffers[-1][0].values[..., :examples].transpose(1, 2)

    def _buffers_for(self, width: int) -> list[tuple["_Activations", "_Activations"]]:
        """Each layer's activation and error for a batch of this size, reused by later batches."""
        if width not in self._buffers:
            if len(self._buffers) > 4:
                self._buffers.clear()
            shapes = [(self._members, weight.shape[1], width) for weight in self._weights]
            self._buffers[width] = [
                (_Activations.of(self._weights[0], s), _Activations.of(self._weights[0], s)) for s in shapes
            ]
        return self._buffers[width]

    def _inputs(self, inputs: Tensor, shared: bool) -> Tensor:
        """The inputs as the first layer's products take them: of all members at once, or (member, example, feature)."""
        units, features = self._weights[0].shape[1:]
        if uses_onednn(inputs, units, features, inputs.shape[-2]):
            return inputs.expand(self._members, *inputs.shape[-2:])
        if shared and self._joint:
            return inputs
        if shared:
            return inputs.T.contiguous().T.expand(self._members, *inputs.shape)
        return inputs if self._rows_aligned else inputs.transpose(1, 2).contiguous().transpose(1, 2)

    def _forward(self, inputs: Tensor, into: Sequence["_Activations"]) -> None:
        if inputs.ndim == 2:
            torch.addmm(self._first_bias, self._first[0], inputs.T, out=into[0].rows)
        else:
            multiply(self._weights[0], inputs.transpose(1, 2), into[0].values, self._biases[0])
        _ACTIVATE[self._activations[0]](into[0].flat)
        for layer, (below, here) in enumerate(pairwise(into), start=1):
            multiply(self._weights[layer], below.values, here.values, self._biases[layer])
            _ACTIVATE[self._activations[layer]](here.flat)

    def _output_error(
        self, outputs: Tensor, targets: Shaped[Tensor, "member example *target"], error: Tensor
    ) -> Float[Tensor, " member"]:
        """Write ∂loss/∂output; return the losses, float64."""
        examples, padding = targets.shape[1], outputs.shape[2] - targets.shape[1]
        real = error[..., :examples] if padding else error
        if self._loss == "mse":
            entries = real[0].numel()
            torch.sub(outputs[..., :examples] if padding else outputs, targets.transpose(1, 2), out=real)
            losses = real.square().sum((1, 2), dtype=torch.float64) / entries
            error.mul_(2 / entries)
        else:
            classes = targets.unsqueeze(1)
            torch.log_softmax(outputs, 1, out=error)
            losses = real.gather(1, classes).sum((1, 2), dtype=torch.float64) / -examples
            error.exp_()
            real.scatter_add_(1, classes, self._minus_one.expand_as(classes)).div_(examples)
            flush_denormals(error, _PRODUCTS)  # the probability of a class that was ruled out long ago
        if padding:
            error[..., examples:] = 0.0
        return losses


class MLPPart(MLPBackend):
    """Some members of a stack; their parameters are copied before each call, to lie as they do without the others."""

    def __init__(self, parameters: StackedTensors, activations: Sequence[str], loss: str) -> None:
        members = [parameters.member(position) for position in range(parameters.members)]
        self._source = parameters
        self._own = StackedTensors.of(members, parameters.flat.dtype, parameters.flat.device, dense=True)
        super().__init__(self._own, self._own.zeros_like(), activations, loss)

    def outputs(self, inputs: Float[Tensor, "example feature"]) -> Float[Tensor, "member example output"]:
        self._own.load(self._source.views)
        return super().outputs(inputs)


@dataclass(frozen=True)
class _Activations:
    """One buffer under three views; what lies after the last member is never read by another."""

    flat: Float[Tensor, " entry"]  # whole vectors
    rows: Float[Tensor, "row example"]  # whole groups of rows
    values: Float[Tensor, "member unit example"]

    @staticmethod
    def of(like: Tensor, shape: tuple[int, int, int]) -> "_Activations":
        members, units, examples = shape
        rows = whole_vectors(members * units)
        flat = like.new_zeros(2 * whole_vectors(-(-rows * examples // 2)))  # two at a time
        return _Activations(
            flat, flat[: rows * examples].view(rows, examples), flat[: members * units * examples].view(shape)
        )
