"""Whether a surface is that of a plain perceptron, for which there are formulas."""

import torch
from torch import Tensor, nn

from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.mlp import PerceptronDerivatives
from bathymetry.surface.parameters import Selection
from bathymetry.training.loss import Criterion
from bathymetry.training.mlp_backend import activations_of


def perceptron_formulas(
    model: nn.Module, criterion: Criterion, selection: Selection, batches: Batches
) -> PerceptronDerivatives | None:
    """Give the formulas of a perceptron, if they hold for this surface.

    Args:
        model: Any network.
        criterion: Any loss.
        selection: The parameters that are varied.
        batches: The data.

    Returns:
        The formulas for linear layers with a known activation between them, all parameters varied, under squared error
        or cross-entropy; None otherwise.
    """
    activations, loss = activations_of(model), criterion.plain
    if activations is None or loss is None or not isinstance(model, nn.Sequential):
        return None
    if list(selection.shapes) != [name for name, _ in model.named_parameters(remove_duplicate=False)]:
        return None
    if not {parameter.dtype for parameter in model.parameters()} <= {torch.float32, torch.float64}:
        return None
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    widths = [*(layer.in_features for layer in linear), linear[-1].out_features]
    if not all(_fits(batch, widths, loss) for batch in batches):
        return None
    return PerceptronDerivatives(widths, activations, loss)


def _fits(batch: Batch, widths: list[int], loss: str) -> bool:
    # rows of inputs, each with values of its own or with one class
    inputs, targets = batch.inputs, batch.targets
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or inputs.shape[1] != widths[0]:
        return False
    if not inputs.is_floating_point() or len(targets) != 1 or not isinstance(targets[0], Tensor):
        return False
    (target,) = targets
    if loss == "mse":
        return target.is_floating_point() and tuple(target.shape) == (batch.rows, widths[-1])
    return target.ndim == 1 and target.dtype == torch.int64 and bool(((target >= 0) & (target < widths[-1])).all())
