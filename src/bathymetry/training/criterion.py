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
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError
from bathymetry.training.losses import Loss, loss_function

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_ELEMENT = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
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
        self.is_known = type(loss).__module__ == _Loss.__module__
        self._function: Callable[..., Any] = loss_function(loss)
        known = isinstance(loss, _Loss) and reduction != "batchmean" and not isinstance(loss, _BY_ROW)
        self._by_row = not known  # PyTorch's other means are over elements

    def to(self, device: torch.device) -> "Criterion":
        """Move a loss's own tensors, such as class weights.

        Args:
            device: Where to.

        Returns:
            Itself.
        """
        if isinstance(self.loss, nn.Module):
            self.loss.to(device)
        return self

    @property
    def name(self) -> str:
        """What to call it: a function by its name, a module by what it prints."""
        return str(getattr(self.loss, "__name__", self.loss))

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

    @property
    def by_class(self) -> bool:
        """Whether its targets are classes, and its outputs have their axis after the example's."""
        return isinstance(self.loss, _BY_CLASS)

    def counted(self, target: Tensor) -> Bool[Tensor, "example *position"]:
        """Tell which classes count.

        Args:
            target: Class numbers.

        Returns:
            False where the loss ignores the class.
        """
        whole = torch.ones_like(target, dtype=torch.bool)
        return target != self.loss.ignore_index if isinstance(self.loss, _BY_CLASS) else whole

    def __call__(self, output: Any, targets: tuple[Any, ...]) -> Tensor:
        """Give the loss of a batch.

        Args:
            output: What the network answered.
            targets: What it should have.

        Returns:
            A scalar.

        Raises:
            InputError: If the loss is not one number, or compares outputs and targets of different shapes.
        """
        if isinstance(self.loss, _BY_ELEMENT) and isinstance(output, Tensor) and isinstance(targets[0], Tensor):
            shapes = [tuple(one.shape) for one in (targets[0], output)]
            if shapes[0] != shapes[1]:  # PyTorch would compare each with each
                remedy = f"give targets of the outputs' shape, {shapes[1]}"
                raise InputError("data", f"targets of shape {shapes[0]}", remedy)
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
        return float(self.weights(targets, rows).sum()) if self.is_mean else 1.0

    def weights(self, targets: tuple[Any, ...], rows: int) -> Float[Tensor, " example"]:
        """Tell what the mean of each example alone would be divided by; a batch's is divided by their sum.

        Args:
            targets: The batch's targets.
            rows: Its examples.

        Returns:
            Weights, float64: 0 for an example that the loss ignores, 1 for each in a loss that is a sum.
        """
        first = targets[0] if targets else None
        if isinstance(self.loss, _BY_CLASS) and isinstance(first, Tensor) and not first.is_floating_point():
            counted = self.counted(first).reshape(rows, -1)
            if not self.is_mean:
                return counted.any(1).double()
            return (
                counted * _class_weights(self.loss, first.masked_fill(~self.counted(first), 0)).reshape(rows, -1)
            ).sum(1)
        like = first if isinstance(first, Tensor) else torch.empty(0)
        return torch.full((rows,), self.terms(targets, rows), dtype=torch.float64, device=like.device)

    def terms(self, targets: tuple[Any, ...], rows: int) -> float:
        """Tell of how many terms an example's own loss is the mean, counting all alike.

        Args:
            targets: A batch's targets.
            rows: Its examples.

        Returns:
            Their number, such as the outputs for a squared error; 1 where the loss is a sum, or gives one term a row.
        """
        first = targets[0] if targets else None
        if not self.is_mean or self._by_row or not isinstance(first, Tensor):
            return 1.0
        # probabilities are divided by all but the class axis
        classes = first.shape[min(1, first.ndim - 1)] if self._has_probabilities(first) else 1
        return first.numel() / max(1, classes) / max(1, rows)

    def check_softmax(self, output: Tensor) -> None:
        """Insist on outputs whose softmax over the axis after the example's are the probabilities of classes.

        Args:
            output: What the network answered.

        Raises:
            InputError: If there is one output alone, or nothing says which axis holds the classes.
        """
        remedy = 'give of="logits" or of="loss"'
        if output.ndim < 2 or output.shape[1] < 2:
            raise InputError("of", "probabilities", f"the softmax of one output is always 1: {remedy}")
        if isinstance(self.loss, nn.BCEWithLogitsLoss | nn.MultiLabelSoftMarginLoss):
            raise InputError("of", "probabilities", f"under {type(self.loss).__name__} they are no softmax: {remedy}")
        if output.ndim > 2 and not isinstance(self.loss, _BY_CLASS):
            shape = tuple(output.shape)
            raise InputError(
                "of", f"probabilities of outputs of shape {shape}", f"no axis is known as classes: {remedy}"
            )

    def _has_probabilities(self, target: Tensor) -> bool:
        return isinstance(self.loss, _BY_CLASS) and target.is_floating_point() and target.ndim > 0


def _class_weights(loss: nn.CrossEntropyLoss | nn.NLLLoss, classes: Tensor) -> Tensor:
    if loss.weight is None:
        return torch.ones_like(classes, dtype=torch.float64)
    return loss.weight.detach().to(classes.device, torch.float64)[classes]
