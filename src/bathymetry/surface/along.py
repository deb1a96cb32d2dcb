"""Loss and accuracy at many points of straight lines, where a network has a quicker way than point after point."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bathymetry.surface.mlp import PerceptronDerivatives, perceptron_line
from bathymetry.training.loss import is_correct

if TYPE_CHECKING:
    from bathymetry.surface.loss_surface import LossSurface


def along(
    surface: "LossSurface",
    starts: Float[Tensor, "member parameter"],
    ends: Float[Tensor, "member parameter"],
    points: Float[Tensor, " point"],
) -> tuple[Float[Tensor, "member point"], Float[Tensor, "member point"] | None] | None:
    """Give loss and accuracy along lines.

    Args:
        surface: The loss surface.
        starts: θ at α = 0.
        ends: θ at α = 1.
        points: Values of α.

    Returns:
        Losses, and accuracies where there are classes, float64; None for a network that has no quicker way.
    """
    derivatives = surface._derivatives
    if not isinstance(derivatives, PerceptronDerivatives):
        return None
    alphas = points.tolist()
    losses = torch.zeros(len(starts), len(alphas), dtype=torch.float64, device=starts.device)
    correct = losses.clone() if surface.has_classes else None
    with surface._network.measuring():
        for share, batch in surface.batches(starts, 1):
            for member, piece, loss, outputs in perceptron_line(derivatives, starts, ends, alphas, batch):
                losses[member] += share * piece.rows / batch.rows * loss.double()
                if correct is not None:
                    classes = piece.targets[0].expand(len(alphas), -1)
                    correct[member] += is_correct(outputs, classes).sum(1)
    return losses.cpu(), None if correct is None else (correct / surface.num_examples).cpu()
