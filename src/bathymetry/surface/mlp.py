"""The way of plain perceptrons: gradients, Hessian products and whole Hessians by formulas of their own.

With zₗ = Wₗaₗ₋₁ + bₗ, aₗ = φ(zₗ), errors δₗ = ∂ℓ/∂zₗ and eₗ = ∂ℓ/∂aₗ, moving θ along V moves (R is that derivative)

    Rzₗ = Vₗaₗ₋₁ + WₗRaₗ₋₁ + vₗ        Raₗ = φ′Rzₗ
    Reₗ₋₁ = WₗᵀRδₗ + Vₗᵀδₗ             Rδₗ = φ′Reₗ + φ″eₗRzₗ
    (HV)ₗ = Rδₗaₗ₋₁ᵀ + δₗRaₗ₋₁ᵀ

Pearlmutter 1994, Neural Computation 6(1). Activations lie as (member, unit, vector, example), so that every product is
one matrix product for all vectors. Held to automatic differentiation, its slow twin, by a test.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.networks import power_of_two
from bathymetry.surface.batches import Batch
from bathymetry.surface.derivatives import Product


@dataclass(frozen=True)
class PerceptronPoint:
    """One batch, passed forward and backward at one θ, or at one for each member."""

    weights: list[Tensor]  # (member, output, input) each
    activations: list[Tensor]  # a₀ … a_L, (member, unit, example) each, a₀ without the member axis
    slopes: list[Tensor]  # φ′ of the hidden layers
    bends: list[Tensor | None]  # φ″e / φ′ of the hidden layers; None where it is zero
    errors: list[Tensor]  # δ₁ … δ_L
    losses: Float[Tensor, " member"]
    probabilities: Tensor | None  # of cross-entropy; None for squared error
    scale: float  # of the loss's second derivative


def perceptron_hessian(point: PerceptronPoint) -> Float[Tensor, "member parameter parameter"]:
    """Put a perceptron's Hessian together.

    Args:
        point: Its activations, slopes and errors.

    Returns:
        Hessians of the batch's loss, in the order of θ: weight and bias of each layer.
    """
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


def _extended(below: Tensor, members: int) -> Tensor:
    shared = below.expand(members, *below.shape[-2:])
    return torch.cat([shared, shared.new_ones(members, 1, shared.shape[2])], dim=1)


def _unit_derivatives(point: PerceptronPoint) -> tuple[list[Tensor], Float[Tensor, "member unit unit example"]]:
    """Give ∂aᵣ/∂z of all units so far, layer by layer, and S."""
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
            slope, bend = point.slopes[layer], point.bends[layer]
            response.append(jacobian * slope.unsqueeze(2))
            if bend is None:
                continue
            curved = jacobian * (bend * slope).unsqueeze(2)
        else:
            curved = _through_loss(point, jacobian)
        for unit in range(outputs):
            # in place, as temporaries of this size cost more than their arithmetic
            curvature[:, :so_far, :so_far].addcmul_(curved[:, unit, :, None], jacobian[:, unit, None, :])
    return response, curvature


def _through_loss(point: PerceptronPoint, jacobian: Tensor) -> Tensor:
    if point.probabilities is None:
        return jacobian * point.scale
    likely = point.probabilities.unsqueeze(2)
    weighted = likely * jacobian
    return (weighted - likely * weighted.sum(1, keepdim=True)) * point.scale


def _paired(
    pairs: Float[Tensor, "member i k example"], first: Float[Tensor, "member j example"], second: Tensor
) -> Float[Tensor, "member i j k h"]:
    """Sum pairs[i,k] · first[j] · second[h] over examples."""
    members, rows, columns, examples = pairs.shape
    outer = (first[:, :, None] * second[:, None]).view(members, -1, examples)
    product = torch.bmm(pairs.reshape(members, rows * columns, examples), outer.transpose(1, 2))
    return product.view(members, rows, columns, first.shape[1], -1).transpose(2, 3)


def _assembled(blocks: dict[tuple[int, int], Tensor], layers: int) -> Tensor:
    # a layer's parameters are its weights, row after row, and then its biases
    rows = []
    for lower in range(layers):
        row = []
        for upper in range(layers):
            block = blocks[lower, upper] if lower <= upper else blocks[upper, lower].permute(0, 3, 4, 1, 2)
            ordered = torch.cat([block[:, :, :-1].flatten(1, 2), block[:, :, -1]], dim=1)
            row.append(torch.cat([ordered[..., :-1].flatten(2), ordered[..., -1]], dim=2))
        rows.append(torch.cat(row, dim=2))
    return torch.cat(rows, dim=1)


_CACHE = 2**21  # bytes of second derivatives worked on at once
PATH = "a perceptron's own formulas"


class PerceptronDerivatives:
    """Derivatives of a multilayer perceptron under squared error or cross-entropy.

    Args:
        widths: Units of every layer, inputs first.
        activations: The activation after each layer but the last.
        loss: "mse" or "cross_entropy".
    """

    path = PATH

    def __init__(self, widths: Sequence[int], activations: Sequence[str], loss: str) -> None:
        self._widths, self._activations, self._loss = tuple(widths), tuple(activations), loss

    def loss(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, " member"]:
        """Give each member's loss on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Losses.
        """
        weights, biases = self.layers(theta)
        outputs = self._forward(weights, biases, batch)[-1]
        return self.output_losses(outputs, batch)

    def outputs(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, "member example output"]:
        """Give each member's outputs on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Outputs.
        """
        weights, biases = self.layers(theta)
        return self._forward(weights, biases, batch)[-1].transpose(1, 2)

    def gradient(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, "member parameter"]:
        """Give each member's gradient on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Gradients.
        """
        point = self.point(theta, batch)
        pieces = []
        for error, below in zip(point.errors, point.activations, strict=False):
            pieces += [_outer(error, below).flatten(1), error.sum(2)]
        return torch.cat(pieces, dim=1)

    def product(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Product:
        """Prepare products with each member's Hessian on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            A function of (member, vector, parameter) that may be called again and again.
        """
        point = self.point(theta, batch)
        return lambda vectors: self._product(point, vectors)

    def hessian(
        self, theta: Float[Tensor, "member parameter"], batch: Batch
    ) -> Float[Tensor, "member parameter parameter"] | None:
        """Give each member's whole Hessian on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Hessians; None where the layers are so wide that products are the better way.
        """
        if max((width + 1) ** 2 for width in self._widths) > 10_000:
            return None
        units = sum(self._widths[1:])
        each = units**2 * theta.element_size()
        rows = max(1, min(batch.rows, _CACHE // each))
        blocks = []
        for some in torch.split(theta, max(1, _CACHE // (rows * each))):
            parts = [piece.rows / batch.rows * self._hessian(some, piece) for piece in batch.split(rows)]
            blocks.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum(0))
        return torch.cat(blocks)

    def example_norms(self, theta: Float[Tensor, " parameter"], batch: Batch) -> Float[Tensor, " example"]:
        """Give the norm of each example's own gradient, from its errors and activations alone.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Norms.
        """
        point = self.point(theta[None], batch)
        scale = power_of_two(torch.stack([error[0].abs().amax(0) for error in point.errors]).amax(0))
        pairs = zip(point.errors, point.activations, strict=False)
        squares = [
            (error[0] / scale).square().sum(0) * (below.square().sum(-2).reshape(-1) + 1) for error, below in pairs
        ]
        return torch.stack(squares).sum(0).sqrt() * batch.rows * scale

    def bytes_an_example(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> int:
        """Tell what one example leaves in memory for a backward pass.

        Args:
            theta: Parameters.
            batch: A batch.

        Returns:
            Bytes.
        """
        del batch
        return 4 * sum(self._widths[1:]) * theta.element_size()

    def point(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> PerceptronPoint:
        """Go forward and backward once.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            All that gradients and products need.
        """
        weights, biases = self.layers(theta)
        activations = self._forward(weights, biases, batch)
        losses, error, probabilities, scale = self._output(activations[-1], batch.targets[0])
        errors, slopes = [error], list[Tensor]()
        bends: list[Tensor | None] = []
        for layer in reversed(range(1, len(weights))):
            slope, bend = _derivatives(self._activations[layer - 1], activations[layer])
            arriving = torch.bmm(weights[layer].transpose(1, 2), errors[0])
            slopes.insert(0, slope)
            bends.insert(0, None if bend is None else bend * arriving)
            errors.insert(0, slope * arriving)
        return PerceptronPoint(weights, activations, slopes, bends, errors, losses, probabilities, scale)

    def _hessian(self, theta: Tensor, batch: Batch) -> Tensor:
        return perceptron_hessian(self.point(theta, batch))

    def layers(self, theta: Float[Tensor, "member parameter"]) -> tuple[list[Tensor], list[Tensor]]:
        """Cut parameters into layers.

        Args:
            theta: Parameters.

        Returns:
            Weights (member, output, input) and biases (member, output, 1), views.
        """
        weights, biases, start = [], [], 0
        for below, here in pairwise(self._widths):
            weights.append(theta[:, start : start + here * below].view(-1, here, below))
            start += here * below
            biases.append(theta[:, start : start + here].unsqueeze(2))
            start += here
        return weights, biases

    def first_layer(self, weight: Tensor, bias: Tensor, batch: Batch) -> Float[Tensor, "member unit example"]:
        """Give every member's first layer, before its activation.

        Args:
            weight: (member, output, input).
            bias: (member, output, 1).
            batch: The batch.

        Returns:
            W x + b.
        """
        return _from_inputs(weight, batch.inputs.T).add_(bias)

    def above_first_layer(
        self, values: Float[Tensor, "member unit example"], weights: list[Tensor], biases: list[Tensor]
    ) -> list[Tensor]:
        """Go on from the first layer to the outputs.

        Args:
            values: Of the first layer, before its activation; overwritten.
            weights: Of the layers above it.
            biases: Of the layers above it.

        Returns:
            Activations of every layer, outputs last, (member, unit, example) each.
        """
        names = [*self._activations, "identity"]
        activations = [_activate(names[0], values)]
        for name, weight, bias in zip(names[1:], weights, biases, strict=True):
            activations.append(_activate(name, torch.baddbmm(bias, weight, activations[-1])))
        return activations

    def output_losses(self, outputs: Float[Tensor, "member output example"], batch: Batch) -> Float[Tensor, " member"]:
        """Give the losses of outputs.

        Args:
            outputs: What was answered.
            batch: The batch.

        Returns:
            Means over the batch.
        """
        return self._output(outputs, batch.targets[0])[0]

    def _forward(self, weights: list[Tensor], biases: list[Tensor], batch: Batch) -> list[Tensor]:
        first = self.first_layer(weights[0], biases[0], batch)
        return [batch.inputs.T, *self.above_first_layer(first, weights[1:], biases[1:])]

    def _output(
        self, outputs: Tensor, targets: Shaped[Tensor, "example *output"]
    ) -> tuple[Tensor, Tensor, Tensor | None, float]:
        """Give the losses, δ of the last layer, and what the loss's second derivative is made of."""
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

    def _product(self, point: PerceptronPoint, vectors: Tensor) -> Tensor:
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
        turn = _loss_curvature(point, change)
        pieces: list[Tensor] = []
        for layer in reversed(range(len(moved))):
            below, rise = point.activations[layer], rises[layer - 1] if layer > 0 else None
            pieces = [*_moved_gradient(turn, point.errors[layer], below, rise), *pieces]
            if rise is not None:
                weight = moved[layer][0].permute(0, 3, 2, 1).flatten(1, 2)
                arriving = torch.bmm(weight, point.errors[layer]).view_as(rise)
                arriving.flatten(2).baddbmm_(point.weights[layer].transpose(1, 2), turn.flatten(2))
                turn = arriving.mul_(point.slopes[layer - 1].unsqueeze(2))
                bend = point.bends[layer - 1]
                if bend is not None:
                    turn += bend.unsqueeze(2) * rise
        return torch.cat(pieces, dim=2)

    def _moved_layers(self, vectors: Tensor) -> list[tuple[Tensor, Tensor]]:
        members, count, _ = vectors.shape
        layers, start = [], 0
        for below, here in pairwise(self._widths):
            weight = vectors[..., start : start + here * below].view(members, count, here, below).transpose(1, 2)
            start += here * below
            layers.append((weight.contiguous(), vectors[..., start : start + here].transpose(1, 2)))
            start += here
        return layers


def _activate(activation: str, values: Tensor) -> Tensor:
    match activation:
        case "relu":
            return values.relu_()
        case "tanh":
            return values.tanh_()
        case "sigmoid":
            return values.sigmoid_()
    return values


def _derivatives(activation: str, activated: Tensor) -> tuple[Tensor, Tensor | None]:
    """Give φ′, and φ″ / φ′ where it is not zero, from what the activation gave."""
    match activation:
        case "relu":
            return (activated > 0).to(activated.dtype), None
        case "tanh":
            return 1 - activated.square(), -2 * activated
        case "sigmoid":
            return activated * (1 - activated), 1 - 2 * activated
    return torch.ones_like(activated), None


def _from_inputs(weight: Tensor, inputs: Float[Tensor, "input example"]) -> Tensor:
    # all members' rows in one product, as they share their inputs
    return (weight.reshape(-1, weight.shape[2]) @ inputs).view(*weight.shape[:2], -1)


def _outer(error: Tensor, below: Tensor) -> Tensor:
    if below.ndim == 2:
        return (error.reshape(-1, error.shape[-1]) @ below.T).view(*error.shape[:-1], -1)
    return torch.bmm(error, below.transpose(1, 2))


def _loss_curvature(point: PerceptronPoint, change: Float[Tensor, "member output vector example"]) -> Tensor:
    """Move δ of the last layer as its output moves."""
    if point.probabilities is None:
        return change * point.scale
    likely = point.probabilities.unsqueeze(2)
    weighted = likely * change
    return (weighted - likely * weighted.sum(1, keepdim=True)) * point.scale


def _moved_gradient(turn: Tensor, error: Tensor, below: Tensor, rise: Tensor | None) -> list[Tensor]:
    """Give one layer's part of the product: (member, vector, weight) and (member, vector, bias)."""
    members, outputs, count, _ = turn.shape
    weight = _outer(turn.flatten(1, 2), below).view(members, outputs, count, -1).transpose(1, 2)
    if rise is not None:
        crossed = torch.bmm(rise.flatten(1, 2), error.transpose(1, 2)).view(members, -1, count, outputs)
        weight = weight + crossed.permute(0, 2, 3, 1)
    return [weight.flatten(2), turn.sum(3).transpose(1, 2)]


_PERCEPTRON_LINE_CACHE = 2**22  # bytes of activations worked on at once


def perceptron_line(
    derivatives: PerceptronDerivatives,
    starts: Float[Tensor, "member parameter"],
    ends: Float[Tensor, "member parameter"],
    alphas: Sequence[float],
    batch: Batch,
) -> Iterator[tuple[int, Batch, Float[Tensor, " point"], Float[Tensor, "point example output"]]]:
    """Ask every member at every point of its line.

    Args:
        derivatives: The perceptron.
        starts: θ at α = 0.
        ends: θ at α = 1.
        alphas: The points.
        batch: The examples.

    Yields:
        Some examples at a time: the member, the examples, its losses on them, and its outputs.
    """
    both = [derivatives.layers(theta) for theta in (starts, ends)]
    later = [_between(both, member, alphas) for member in range(len(starts))]
    widest = max(weight.shape[1] for weight in both[0][0])
    rows = max(1, _PERCEPTRON_LINE_CACHE // (len(alphas) * widest * starts.element_size()))
    for piece in batch.split(rows):
        first = [derivatives.first_layer(weights[0], biases[0], piece) for weights, biases in both]
        for member, (weights, biases) in enumerate(later):
            values = _mixed(first[0][member], first[1][member], alphas)
            outputs = derivatives.above_first_layer(values, weights, biases)[-1]
            losses = derivatives.output_losses(outputs, piece)
            yield member, piece, losses, outputs.transpose(1, 2)


def _between(
    both: list[tuple[list[Tensor], list[Tensor]]], member: int, alphas: Sequence[float]
) -> tuple[list[Tensor], list[Tensor]]:
    """Give one member's weights and biases above the first layer at every point, the point as their leading axis."""
    (weights, biases), (end_weights, end_biases) = both
    return (
        [_mixed(a[member], b[member], alphas) for a, b in zip(weights[1:], end_weights[1:], strict=True)],
        [_mixed(a[member], b[member], alphas) for a, b in zip(biases[1:], end_biases[1:], strict=True)],
    )


def _mixed(a: Tensor, b: Tensor, alphas: Sequence[float]) -> Tensor:
    # the ends themselves, not what rounding makes of them, and nothing of the other end where that is not finite
    share = torch.tensor(alphas, dtype=a.dtype, device=a.device).view(-1, *[1] * a.ndim)
    mixed = torch.addcmul(a, share, b - a)
    for point, alpha in enumerate(alphas):
        if alpha in (0.0, 1.0):
            mixed[point] = b if alpha else a
    return mixed
