"""Losses: two by name, and any function of output and target that gives a mean over the batch."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError

Loss = Literal["mse", "cross_entropy"] | Callable[..., Any]


def loss_function(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """Give the function that a loss's name stands for.

    Args:
        loss: "mse", "cross_entropy", or a function that gives the mean over the batch it is handed.

    Returns:
        (output, target) ↦ scalar.

    Raises:
        InputError: If there is no such loss.
    """
    if callable(loss):
        return loss
    if isinstance(loss, str) and loss == "mse":
        return torch.nn.functional.mse_loss
    if isinstance(loss, str) and loss == "cross_entropy":
        return torch.nn.functional.cross_entropy
    raise InputError("loss", loss, 'give "mse", "cross_entropy" or a function of output and target')


def summed_losses(
    loss: str, outputs: Float[Tensor, "member example *output"], targets: Shaped[Tensor, "member example *target"]
) -> Float[Tensor, " member"]:
    """Sum the loss over a batch, one sum a member, in float64.

    Args:
        loss: "mse" or "cross_entropy".
        outputs: What the members answered.
        targets: What they should have.

    Returns:
        Sums over examples, of the mean over an example's outputs or answers.
    """
    if loss == "mse":
        residuals = (outputs - targets).flatten(1)
        per_example = max(1, outputs[0, 0].numel())
        return residuals.square().sum(1, dtype=torch.float64) / per_example
    chosen = outputs.gather(2, targets.unsqueeze(2)).squeeze(2)
    losses = (outputs.logsumexp(2) - chosen).flatten(1)
    return losses.sum(1, dtype=torch.float64) / max(1, targets[0, 0].numel())


def are_classes(
    outputs: Float[Tensor, "member example *output"], targets: Shaped[Tensor, "member example *target"]
) -> bool:
    """Tell whether targets are the numbers of classes, one for each answer with an output a class.

    Args:
        outputs: What the members answered.
        targets: What they should have.

    Returns:
        Whether an accuracy can be told.
    """
    whole = not targets.is_floating_point() and targets.dtype != torch.bool
    return whole and outputs.ndim > 2 and targets.shape == (*outputs.shape[:2], *outputs.shape[3:])


def correct_answers(
    outputs: Float[Tensor, "member example classes *place"],
    targets: Int[Tensor, "member example *place"],
    counted: Bool[Tensor, "member example *place"],
) -> tuple[Float[Tensor, " member"], Float[Tensor, " member"]]:
    """Count the labels that count, and those of them that have the largest output.

    Args:
        outputs: One output a class.
        targets: Class numbers.
        counted: False where the loss ignores the label.

    Returns:
        Right answers and labels, one count a member; an output that is not a finite number is no answer, and of equal
        ones the first counts.
    """
    right = answered_rightly(outputs, targets.masked_fill(~counted, 0)) & counted
    return right.flatten(1).sum(1, dtype=torch.float64), counted.flatten(1).sum(1, dtype=torch.float64)


def answered_rightly(
    outputs: Float[Tensor, "member example classes *place"], targets: Int[Tensor, "member example *place"]
) -> Bool[Tensor, "member example *place"]:
    """Tell which examples have their largest output at their class.

    Args:
        outputs: One output a class.
        targets: Class numbers.

    Returns:
        For each member and example; an output that is not a finite number is no answer, and of equal ones the first
        counts.
    """
    largest = outputs.amax(2, keepdim=True)
    finite = largest.squeeze(2).isfinite() & outputs.amin(2).isfinite()
    numbers = largest.numel() - int(torch.count_nonzero(largest.isnan()))
    if int(torch.count_nonzero(outputs == largest)) == numbers:  # no ties: eight times as fast as `argmax`
        return (outputs.gather(2, targets.unsqueeze(2)) == largest).squeeze(2) & finite
    return (outputs.argmax(2) == targets) & finite
