"""Perceptrons along straight lines: the first layer is linear in θ, so two products serve every point of a line.

    z₁(α) = W₁(α) x + b₁(α) = (1 − α) z₁(0) + α z₁(1)

On images nearly all the arithmetic is in that layer. Held to evaluating point after point, its slow twin, by a test.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.surface.batches import Batch
from bathymetry.surface.perceptron import PerceptronDerivatives

_CACHE = 2**22  # bytes of activations worked on at once


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
    rows = max(1, _CACHE // (len(alphas) * widest * starts.element_size()))
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
