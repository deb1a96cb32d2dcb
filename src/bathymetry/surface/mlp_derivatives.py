"""Derivatives of multilayer perceptrons by formulas: gradients, Hessian products and whole Hessians.

With zₗ = Wₗaₗ₋₁ + bₗ, aₗ = φ(zₗ), errors δₗ = ∂ℓ/∂zₗ and eₗ = ∂ℓ/∂aₗ, moving θ along V moves (R is that derivative)

    Rzₗ = Vₗaₗ₋₁ + WₗRaₗ₋₁ + vₗ        Raₗ = φ′Rzₗ
    Reₗ₋₁ = WₗᵀRδₗ + Vₗᵀδₗ             Rδₗ = φ′Reₗ + φ″eₗRzₗ
    (HV)ₗ = Rδₗaₗ₋₁ᵀ + δₗRaₗ₋₁ᵀ

Pearlmutter 1994, Neural Computation 6(1). Activations lie as (member, unit, vector, example), so that every product is
one matrix product for all vectors. A test compares all with automatic differentiation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.core.tensors import power_of_two
from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.derivatives import Derivatives, Product
from bathymetry.surface.selection import Output, PerExample, Point, Points, Vectors
from bathymetry.training.perceptrons import activations_of

_CACHE = 2**21  # bytes of second derivatives worked on at once
_LINE_CACHE = 2**22  # bytes of activations on a line worked on at once
_IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_}
_WIDEST = 10_000  # squared width (with the bias) above which products are faster than the formula of the Hessian


@dataclass(frozen=True)
class _Point:
    """One batch, passed forward and backward at one θ for each member."""

    weights: list[Tensor]  # (member, output, input) each
    activations: list[Tensor]  # a₀ … a_L, (member, unit, example) each, a₀ without the member axis
    slopes: list[Tensor]  # φ′ of the hidden layers
    curvatures: list[Tensor | None]  # φ″e / φ′ of the hidden layers; None where it is zero
    errors: list[Tensor]  # δ₁ … δ_L
    probabilities: Tensor | None  # of cross-entropy; None for squared error
    scale: float  # of the loss's second derivative

    def through_loss(self, moved: Float[Tensor, "member output any example"]) -> Tensor:
        """Multiply changes of the outputs by the second derivative of the loss."""
        if self.probabilities is None:
            return moved * self.scale
        likely = self.probabilities.unsqueeze(2)
        weighted = likely * moved
        return (weighted - likely * weighted.sum(1, keepdim=True)) * self.scale


def with_formulas(derivatives: Derivatives, batches: Batches) -> Derivatives:
    """Give the formulas where they hold: a plain perceptron, all parameters varied, squared error or cross-entropy."""
    model = derivatives.network.module
    activations, loss = activations_of(model), derivatives.criterion.plain
    if activations is None or loss is None or not isinstance(model, nn.Sequential):
        return derivatives
    if list(derivatives.selection.shapes) != [name for name, _ in model.named_parameters(remove_duplicate=False)]:
        return derivatives
    if not {parameter.dtype for parameter in model.parameters()} <= {torch.float32, torch.float64}:
        return derivatives
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    widths = [linear[0].in_features, *(layer.out_features for layer in linear)]
    if not all(_fits(batch, widths, loss) for batch in batches):
        return derivatives
    return MLPDerivatives(derivatives, widths, activations, loss)


def _fits(batch: Batch, widths: list[int], loss: str) -> bool:
    """Whether a batch holds rows of inputs, each with values or one class as its target."""
    inputs, targets = batch.inputs, batch.targets
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or inputs.shape[1] != widths[0]:
        return False
    if not inputs.is_floating_point() or len(targets) != 1 or not isinstance(targets[0], Tensor):
        return False
    (target,) = targets
    if loss == "mse":
        return target.is_floating_point() and tuple(target.shape) == (batch.rows, widths[-1])
    return target.ndim == 1 and target.dtype == torch.int64 and bool(((target >= 0) & (target < widths[-1])).all())


class MLPDerivatives(Derivatives):
    """Derivatives of a multilayer perceptron under squared error or cross-entropy."""

    backend = "a perceptron's own formulas"

    def __init__(self, general: Derivatives, widths: Sequence[int], activations: Sequence[str], loss: str) -> None:
        super().__init__(general.network, general.criterion, general.selection)
        self._widths, self._activations, self._loss = tuple(widths), tuple(activations), loss
        self._pairs = list(pairwise(widths))  # of a layer's inputs and outputs

    def loss(self, theta: Points, batch: Batch) -> Float[Tensor, " member"]:
        return self._through_outputs(self._forward(theta, batch)[-1], batch.targets[0])[0]

    def outputs(self, theta: Points, batch: Batch, output: Output = None) -> Float[Tensor, "member example *output"]:
        if output is not None:
            return super().outputs(theta, batch, output)
        return self._forward(theta, batch)[-1].transpose(1, 2)

    def gradient(self, theta: Points, batch: Batch) -> Points:
        point = self._point(theta, batch)
        pieces = []
        for error, below in zip(point.errors, point.activations, strict=False):
            pieces += [_outer(error, below).flatten(1), error.sum(2)]
        return torch.cat(pieces, dim=1)

    def product(self, theta: Points, batch: Batch) -> Product:
        point = self._point(theta, batch)
        return lambda vectors: self._product(point, vectors)

    def hessian(self, theta: Points, batch: Batch) -> Float[Tensor, "member parameter parameter"] | None:
        if max((width + 1) ** 2 for width in self._widths) > _WIDEST:
            return None  # products are faster
        each = sum(self._widths[1:]) ** 2 * theta.element_size()
        rows = max(1, min(batch.rows, _CACHE // each))
        blocks = []
        for some in torch.split(theta, max(1, _CACHE // (rows * each))):
            parts = [piece.rows / batch.rows * _hessian(self._point(some, piece)) for piece in batch.split(rows)]
            blocks.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum(0))
        return torch.cat(blocks)

    def example_norms(self, theta: Point, batch: Batch) -> PerExample:
        point = self._point(theta[None], batch)
        scale = power_of_two(torch.stack([error[0].abs().amax(0) for error in point.errors]).amax(0))
        squares = [
            (error[0] / scale).square().sum(0) * (below.square().sum(-2).reshape(-1) + 1)
            for error, below in zip(point.errors, point.activations, strict=False)
        ]
        return torch.stack(squares).sum(0).sqrt() * batch.rows * scale

    def bytes_per_example(self, theta: Points, batch: Batch) -> int:
        del batch
        return 4 * sum(self._widths[1:]) * theta.element_size()

    def along(
        self, starts: Points, ends: Points, alphas: Sequence[float], batch: Batch
    ) -> Iterator[tuple[int, Batch, Float[Tensor, " point"], Float[Tensor, "point example output"]]]:
        """Yield some examples with a member's losses and outputs on them at every point of its line."""
        both = [self._layers(theta) for theta in (starts, ends)]
        later = [
            [
                [_mixed(a[member], b[member], alphas) for a, b in zip(start[1:], end[1:], strict=True)]
                for start, end in zip(*both, strict=True)  # weights, then biases
            ]
            for member in range(len(starts))
        ]
        widest = max(weight.shape[1] for weight in both[0][0])
        rows = max(1, _LINE_CACHE // (len(alphas) * widest * starts.element_size()))
        for piece in batch.split(rows):
            # the first layer is linear in α
            first, last = (_from_inputs(weights[0], piece.inputs.T).add_(biases[0]) for weights, biases in both)
            for member, (weights, biases) in enumerate(later):
                values = _mixed(first[member], last[member], alphas)
                outputs = self._above_first_layer(values, weights, biases)[-1]
                losses = self._through_outputs(outputs, piece.targets[0])[0]
                yield member, piece, losses, outputs.transpose(1, 2)

    def _layers(self, theta: Points) -> tuple[list[Tensor], list[Tensor]]:
        """Cut parameters into weights (member, output, input) and biases (member, output, 1), views."""
        weights, biases = self._cut(theta)
        shaped = [weight.view(-1, here, below) for weight, (below, here) in zip(weights, self._pairs, strict=True)]
        return shaped, [bias.unsqueeze(2) for bias in biases]

    def _forward(self, theta: Points, batch: Batch) -> list[Tensor]:
        """Compute the activations of every layer, inputs first, outputs last, (member, unit, example) each."""
        weights, biases = self._layers(theta)
        first = _from_inputs(weights[0], batch.inputs.T).add_(biases[0])
        return self._above_first_layer(first, weights[1:], biases[1:])

    def _above_first_layer(
        self, values: Float[Tensor, "member unit example"], weights: list[Tensor], biases: list[Tensor]
    ) -> list[Tensor]:
        """Compute the activations of every layer from the first one's values, which are overwritten."""
        activations = [values]
        for name, weight, bias in zip(self._activations, weights, biases, strict=True):
            if name in _IN_PLACE:
                _IN_PLACE[name](activations[-1])
            activations.append(torch.baddbmm(bias, weight, activations[-1]))
        return activations

    def _through_outputs(
        self, outputs: Float[Tensor, "member output example"], targets: Shaped[Tensor, "example *output"]
    ) -> tuple[Tensor, Tensor, Tensor | None, float]:
        """Compute the losses, δ of the last layer, and the probabilities and scale of the second derivative."""
        examples = outputs.shape[2]
        if self._loss == "mse":
            entries = outputs[0].numel()
            residuals = outputs - targets.reshape(examples, -1).T
            return residuals.square().sum((1, 2)) / entries, residuals * (2 / entries), None, 2 / entries
        logarithms = outputs.log_softmax(1)
        classes = targets.expand(len(outputs), 1, examples)
        losses = -logarithms.gather(1, classes).sum((1, 2)) / examples
        probabilities = logarithms.exp()
        error = probabilities.clone().scatter_add_(1, classes, probabilities.new_full((), -1.0).expand_as(classes))
        return losses, error.div_(examples), probabilities, 1 / examples

    def _point(self, theta: Points, batch: Batch) -> _Point:
        weights, _ = self._layers(theta)
        activations = [batch.inputs.T, *self._forward(theta, batch)]
        _, error, probabilities, scale = self._through_outputs(activations[-1], batch.targets[0])
        errors, slopes = [error], list[Tensor]()
        curvatures: list[Tensor | None] = []
        for layer in reversed(range(1, len(weights))):
            slope, curvature = _activation_derivatives(self._activations[layer - 1], activations[layer])
            arriving = torch.bmm(weights[layer].transpose(1, 2), errors[0])
            slopes.insert(0, slope)
            curvatures.insert(0, None if curvature is None else curvature * arriving)
            errors.insert(0, slope * arriving)
        return _Point(weights, activations, slopes, curvatures, errors, probabilities, scale)

    def _product(self, point: _Point, vectors: Vectors) -> Tensor:
        members, count, _ = vectors.shape
        moved = self._moved_layers(vectors)
        rises: list[Tensor] = []  # Ra of the hidden layers
        for layer, (weight, bias) in enumerate(moved):
            below, lead = point.activations[layer], weight.flatten(1, 2)
            change = _from_inputs(lead, below) if layer == 0 else torch.bmm(lead, below)
            if layer > 0:
                change.view(members, -1, rises[-1].shape[2] * below.shape[-1]).baddbmm_(
                    point.weights[layer], rises[-1].flatten(2)
                )
            change = change.view(members, -1, count, below.shape[-1]).add_(bias.unsqueeze(3))
            if layer < len(point.slopes):
                rises.append(change.mul_(point.slopes[layer].unsqueeze(2)))
        turn = point.through_loss(change)  # Rδ
        pieces: list[Tensor] = []
        for layer in reversed(range(len(moved))):
            below, rise = point.activations[layer], rises[layer - 1] if layer > 0 else None
            pieces = [*_moved_gradient(turn, point.errors[layer], below, rise), *pieces]
            if rise is not None:
                weight = moved[layer][0].permute(0, 3, 2, 1).flatten(1, 2)
                arriving = torch.bmm(weight, point.errors[layer]).view_as(rise)
                arriving.flatten(2).baddbmm_(point.weights[layer].transpose(1, 2), turn.flatten(2))
                turn = arriving.mul_(point.slopes[layer - 1].unsqueeze(2))
                curvature = point.curvatures[layer - 1]
                if curvature is not None:
                    turn += curvature.unsqueeze(2) * rise
        return torch.cat(pieces, dim=2)

    def _moved_layers(self, vectors: Vectors) -> list[tuple[Tensor, Tensor]]:
        """Cut vectors into weights (member, output, vector, input) and biases (member, output, vector)."""
        layers = []
        for weight, bias, (below, here) in zip(*self._cut(vectors), self._pairs, strict=True):
            shaped = weight.view(*vectors.shape[:2], here, below).transpose(1, 2)
            layers.append((shaped.contiguous(), bias.transpose(1, 2)))
        return layers

    def _cut(self, flat: Float[Tensor, "*lead parameter"]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Cut parameters into the flat weights and the biases of every layer, views."""
        pieces = torch.split(flat, [size for below, here in self._pairs for size in (here * below, here)], dim=-1)
        return pieces[::2], pieces[1::2]


def _from_inputs(weight: Tensor, inputs: Float[Tensor, "input example"]) -> Tensor:
    # all members' rows in one product, as they share their inputs
    return (weight.reshape(-1, weight.shape[2]) @ inputs).view(*weight.shape[:2], -1)


def _activation_derivatives(activation: str, activated: Tensor) -> tuple[Tensor, Tensor | None]:
    """Compute φ′, and φ″ / φ′ where it is not zero, from the activation."""
    match activation:
        case "relu":
            return (activated > 0).to(activated.dtype), None
        case "tanh":
            return 1 - activated.square(), -2 * activated
        case "sigmoid":
            return activated * (1 - activated), 1 - 2 * activated
    return torch.ones_like(activated), None


def _outer(error: Tensor, below: Tensor) -> Tensor:
    """Sum the outer products of errors and activations over examples."""
    if below.ndim == 2:
        return (error.reshape(-1, error.shape[-1]) @ below.T).view(*error.shape[:-1], -1)
    return torch.bmm(error, below.transpose(1, 2))


def _moved_gradient(turn: Tensor, error: Tensor, below: Tensor, rise: Tensor | None) -> list[Tensor]:
    """Compute one layer's part of the product: (member, vector, weight) and (member, vector, bias)."""
    members, outputs, count, _ = turn.shape
    weight = _outer(turn.flatten(1, 2), below).view(members, outputs, count, -1).transpose(1, 2)
    if rise is not None:
        crossed = torch.bmm(rise.flatten(1, 2), error.transpose(1, 2)).view(members, -1, count, outputs)
        weight = weight + crossed.permute(0, 2, 3, 1)
    return [weight.flatten(2), turn.sum(3).transpose(1, 2)]


def _mixed(a: Tensor, b: Tensor, alphas: Sequence[float]) -> Float[Tensor, "point *shape"]:
    # the ends themselves, not what rounding makes of them, and nothing of the other end where that is not finite
    share = torch.tensor(alphas, dtype=a.dtype, device=a.device).view(-1, *[1] * a.ndim)
    mixed = torch.addcmul(a, share, b - a)
    for point, alpha in enumerate(alphas):
        if alpha in (0.0, 1.0):
            mixed[point] = b if alpha else a
    return mixed


def _hessian(point: _Point) -> Float[Tensor, "member parameter parameter"]:
    """Assemble the Hessian of the batch's loss from blocks of pairs of layers."""
    members = len(point.weights[0])
    extended = [_extended(below, members) for below in point.activations[:-1]]
    response, curvature = _unit_derivatives(point)
    starts = [0, *accumulate(weight.shape[1] for weight in point.weights)]
    blocks: dict[tuple[int, int], Tensor] = {}
    for lower in range(len(extended)):
        for upper in range(lower, len(extended)):
            rows, columns = slice(starts[lower], starts[lower + 1]), slice(starts[upper], starts[upper + 1])
            block = _paired(curvature[:, rows, columns], extended[lower], extended[upper])
            if upper > lower:
                fed = response[upper - 1][:, :, rows]  # ∂aₘ₋₁/∂zₗ
                crossed = _paired(fed.transpose(1, 2), extended[lower], point.errors[upper])
                block[..., :-1] += crossed.transpose(3, 4)
            blocks[lower, upper] = block
    return _assembled(blocks, len(extended))


def _extended(below: Tensor, members: int) -> Float[Tensor, "member unit example"]:
    """Append the input of the bias, 1."""
    shared = below.expand(members, *below.shape[-2:])
    return torch.cat([shared, shared.new_ones(members, 1, shared.shape[2])], dim=1)


def _unit_derivatives(point: _Point) -> tuple[list[Tensor], Float[Tensor, "member unit unit example"]]:
    """Compute ∂aᵣ/∂z for all units below, layer by layer, and the second derivatives of the loss by units z."""
    response: list[Tensor] = []
    units = sum(weight.shape[1] for weight in point.weights)
    members, _, examples = point.errors[0].shape
    curvature = point.errors[0].new_zeros(members, units, units, examples)
    for layer, weight in enumerate(point.weights):
        outputs = weight.shape[1]
        own = torch.eye(outputs, dtype=weight.dtype, device=weight.device)[None, :, :, None]
        jacobian = own.expand(members, outputs, outputs, examples)
        if layer > 0:
            below = response[-1]
            carried = torch.bmm(weight, below.flatten(2)).view(members, outputs, *below.shape[2:])
            jacobian = torch.cat([carried, jacobian], dim=2)
        so_far = jacobian.shape[2]
        if layer < len(point.slopes):
            slope, bend = point.slopes[layer], point.curvatures[layer]
            response.append(jacobian * slope.unsqueeze(2))
            if bend is None:
                continue
            curved = jacobian * (bend * slope).unsqueeze(2)
        else:
            curved = point.through_loss(jacobian)
        for unit in range(outputs):
            # in place, as temporaries of this size cost more than their arithmetic
            curvature[:, :so_far, :so_far].addcmul_(curved[:, unit, :, None], jacobian[:, unit, None, :])
    return response, curvature


def _paired(
    pairs: Float[Tensor, "member i k example"], first: Float[Tensor, "member j example"], second: Tensor
) -> Float[Tensor, "member i j k h"]:
    """Sum pairs[i,k] · first[j] · second[h] over examples."""
    members, rows, columns, examples = pairs.shape
    outer = (first[:, :, None] * second[:, None]).view(members, -1, examples)
    product = torch.bmm(pairs.reshape(members, rows * columns, examples), outer.transpose(1, 2))
    return product.view(members, rows, columns, first.shape[1], -1).transpose(2, 3)


def _assembled(blocks: dict[tuple[int, int], Tensor], layers: int) -> Float[Tensor, "member parameter parameter"]:
    """Order blocks as θ: a layer's weights, row by row, and then its biases."""
    rows = []
    for lower in range(layers):
        row = []
        for upper in range(layers):
            block = blocks[lower, upper] if lower <= upper else blocks[upper, lower].permute(0, 3, 4, 1, 2)
            ordered = torch.cat([block[:, :, :-1].flatten(1, 2), block[:, :, -1]], dim=1)
            row.append(torch.cat([ordered[..., :-1].flatten(2), ordered[..., -1]], dim=2))
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)
