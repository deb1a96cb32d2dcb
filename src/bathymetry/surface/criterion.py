"""The loss of a batch, and how much each batch counts in the loss of all data.

    L(θ) = Σ_b w_b ℓ_b(θ) / Σ_b w_b    for a loss that is a mean over its batch
    L(θ) = Σ_b ℓ_b(θ)                  for a loss that is a sum

The weight w_b is what the mean was divided by: examples, elements, or class weights. An unweighted mean over batches
of 32, 32, 32 and 4 would be another function.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError
from bathymetry.training.losses import Loss, loss_function

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_ROW = (nn.CTCLoss, nn.TripletMarginLoss, nn.TripletMarginWithDistanceLoss, nn.CosineEmbeddingLoss)


class Criterion:
    """A loss of output and targets, as a user has it.

    Args:
        loss: A loss module with reduction "mean" or "sum", a function that gives the mean over the batch it is handed,
            or "mse" or "cross_entropy". A module of one's own is taken like a function.
        dtype: What to compute in; None for what the loss has.

    Raises:
        InputError: If its reduction is none.
    """

    def __init__(self, loss: Loss, dtype: torch.dtype | None = None) -> None:
        reduction = getattr(loss, "reduction", "mean") if isinstance(loss, nn.Module) else "mean"
        if reduction == "none":
            raise InputError("loss", f"{loss} with reduction none", "give one with reduction mean or sum")
        # modules know what their mean is divided by
        if loss in ("cross_entropy", torch.nn.functional.cross_entropy):
            loss = nn.CrossEntropyLoss()
        elif loss in ("mse", torch.nn.functional.mse_loss):
            loss = nn.MSELoss()
        if isinstance(loss, nn.Module):  # a copy: what a loss writes into its buffers stays here
            own = copy.deepcopy(loss)
            loss = own if dtype is None else own.to(dtype)  # class weights are of the dtype of what they weigh
        self.loss = loss
        self.is_mean = reduction != "sum"
        self._function: Callable[..., Any] = loss_function(loss)
        known = isinstance(loss, _Loss) and reduction != "batchmean" and not isinstance(loss, _BY_ROW)
        self._by_row = not known  # PyTorch's other means are over elements

    @property
    def plain(self) -> str | None:
        """Its name, "mse" or "cross_entropy", if it is just that: a mean without weights. None otherwise."""
        loss = self.loss
        if type(loss) is nn.MSELoss and self.is_mean:
            return "mse"
        if type(loss) is not nn.CrossEntropyLoss or not self.is_mean:
            return None
        usual = loss.weight is None and loss.label_smoothing == 0.0 and loss.ignore_index < 0
        return "cross_entropy" if usual else None

    def __call__(self, output: Any, targets: tuple[Any, ...]) -> Tensor:
        """Give the loss of a batch.

        Args:
            output: What the network answered.
            targets: What it should have.

        Returns:
            A scalar.

        Raises:
            InputError: If the loss is not one number.
        """
        value = self._function(output, *targets)
        if not isinstance(value, Tensor):
            raise InputError("loss", f"gives a {type(value).__name__}", "it must give one number, as a tensor")
        if value.numel() != 1:
            raise InputError("loss", f"gives shape {tuple(value.shape)}", "it must give one number, a mean or a sum")
        if not value.is_floating_point():
            raise InputError("loss", f"gives {value.dtype}", "it must give a real number that follows from the output")
        return value.reshape(())

    def weight(self, targets: tuple[Any, ...], rows: int) -> float:
        """Tell what a batch's mean was divided by.

        Args:
            targets: The batch's targets.
            rows: Its examples.

        Returns:
            The weight; 1 for a loss that is a sum.
        """
        if not self.is_mean:
            return 1.0
        first = targets[0] if targets else None
        if self._by_row or not isinstance(first, Tensor):
            return float(rows)
        if isinstance(self.loss, _BY_CLASS):
            return _class_weight(self.loss, first)
        return float(first.numel())

    def ignored(self, targets: tuple[Any, ...]) -> Tensor | None:
        """Tell which examples do not count at all.

        Args:
            targets: The batch's targets.

        Returns:
            True for each whose class is the one that the loss ignores; None if it ignores none.
        """
        first = targets[0] if targets else None
        if not isinstance(self.loss, _BY_CLASS) or not isinstance(first, Tensor) or first.ndim != 1:
            return None
        return None if first.is_floating_point() else first == self.loss.ignore_index


def _class_weight(loss: nn.CrossEntropyLoss | nn.NLLLoss, target: Tensor) -> float:
    if target.is_floating_point():  # probabilities, one row an example: divided by all but the class axis
        return target.numel() / max(1, target.shape[1] if target.ndim > 1 else target.shape[0])
    counted = target[target != loss.ignore_index]
    if loss.weight is None:
        return float(counted.numel())
    return float(loss.weight.detach().to(counted.device, torch.float64)[counted].sum())
