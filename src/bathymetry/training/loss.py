"""Losses: "mse", "cross_entropy", a PyTorch loss, or any function of output and target."""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError, first_line, is_real
from bathymetry.core.showing import kind_of

Loss = Literal["mse", "cross_entropy"] | Callable[..., Any]

_NAMED = {"mse": nn.MSELoss, "cross_entropy": nn.CrossEntropyLoss}
_MODULES = {name.lower(): one for name, one in vars(nn).items() if isinstance(one, type) and issubclass(one, _Loss)}
_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_ROW = (nn.CTCLoss, nn.TripletMarginLoss, nn.TripletMarginWithDistanceLoss, nn.CosineEmbeddingLoss)
_BY_ELEMENT = {"MSE", "L1", "SmoothL1", "Huber", "PoissonNLL", "SoftMargin", "KLDiv", "HingeEmbedding"}
_MODEL_NAMES = ("model", "network", "net", "module")  # of the first argument of a loss that calls the model itself


class Criterion:
    """A loss of output and targets.

    Args:
        loss: A loss module with reduction "mean" or "sum"; a function of (output, *targets) that returns the mean over
            its batch or (sum, count); a function of (model, batch) that returns the same, its first argument named
            `model`; or "mse" or "cross_entropy". A module that is not PyTorch's counts as a function.
        dtype: What to compute in; None for the dtype of the loss.

    Raises:
        InputError: If it is none of these.
    """

    def __init__(self, loss: Loss, dtype: torch.dtype | None = None) -> None:
        if isinstance(loss, type):
            raise InputError("loss", loss.__name__, f"a class is no loss yet; expected {loss.__name__}()")
        self.requested = loss if isinstance(loss, str) and loss in _NAMED else None  # the name, if it is given by name
        loss = _as_module(loss)
        if not callable(loss):
            raise InputError("loss", loss, 'expected "mse", "cross_entropy" or a function of output and target')
        reduction = getattr(loss, "reduction", "mean") if isinstance(loss, nn.Module) else "mean"
        if reduction == "none":
            raise InputError("loss", f"{loss} with reduction none", "expected reduction mean or sum")
        if isinstance(loss, nn.Module):  # a copy, because a loss may write into its buffers
            own = copy.deepcopy(loss)
            loss = own if dtype is None else own.to(dtype)  # class weights need the dtype of what they weigh
        self.loss: Any = loss
        self.is_mean = reduction != "sum"
        self.is_known = type(loss).__module__ == _Loss.__module__  # a subclass may divide by something else
        self.takes_model = _takes_model(loss)
        self.mean_count: float | None = None  # of a loss of (sum, count): the mean count per example of the data
        # PyTorch's other means are over elements
        self._by_row = not self.is_known or reduction == "batchmean" or isinstance(loss, _BY_ROW)

    def to(self, device: torch.device) -> "Criterion":
        """Move tensors of the loss, such as class weights, in place."""
        if isinstance(self.loss, nn.Module):
            self.loss.to(device)
        return self

    @property
    def name(self) -> str:
        """What to call it: a function by its name, a module by its repr."""
        return str(getattr(self.loss, "__name__", self.loss))

    @property
    def plain(self) -> str | None:
        """Name "mse" or "cross_entropy" if it is exactly that: a mean without weights. None otherwise."""
        loss = self.loss
        if type(loss) is nn.MSELoss and self.is_mean:
            return "mse"
        if type(loss) is not nn.CrossEntropyLoss or not self.is_mean:
            return None
        usual = loss.weight is None and loss.label_smoothing == 0.0 and loss.ignore_index < 0
        return "cross_entropy" if usual else None

    @property
    def by_class(self) -> bool:
        """Whether targets are classes and outputs have the class axis after the example's."""
        return isinstance(self.loss, _BY_CLASS)

    def counted(self, target: Tensor) -> Bool[Tensor, "example *position"]:
        """False where the loss ignores the class."""
        whole = torch.ones_like(target, dtype=torch.bool)
        return target != self.loss.ignore_index if self.by_class else whole

    def check_classes(self, labels: Tensor, width: int, field: str) -> None:
        """Refuse classes for which a network with `width` outputs has none."""
        wrong = self.counted(labels) & ((labels < 0) | (labels >= width))
        if bool(wrong.any()):
            first = int(labels[wrong][0])
            remedy = (
                f"expected classes from 0 to {width - 1}, a network with an output for each class, or, where {first} "
                f"marks a missing label, loss=torch.nn.{type(self.loss).__name__}(ignore_index={first})"
            )
            value = f"classes from {int(labels.min())} to {int(labels.max())}, where the network gives {width} outputs"
            raise InputError(field, value, remedy)

    def __call__(self, output: Any, targets: tuple[Any, ...], rows: int | None = None) -> Tensor:
        """The loss of a batch, a scalar; `rows` as in `value`."""
        return self.value(self.raw(output, *targets), rows)

    def raw(self, *arguments: Any) -> Any:
        """Call the loss on (output, *targets) or (model, batch); returns a number or (sum, count)."""
        by_element = self.is_known and type(self.loss).__name__.removesuffix("Loss") in _BY_ELEMENT
        if by_element and all(isinstance(one, Tensor) for one in arguments[:2]):
            output, target = (tuple(one.shape) for one in arguments[:2])
            if output != target:  # PyTorch would broadcast, and compare each with each
                raise InputError("data", f"targets of shape {target}", f"expected the outputs' shape, {output}")
        try:
            return self.loss(*arguments)
        except IndexError:  # PyTorch names one class alone
            if self.by_class:
                self.check_classes(arguments[1], arguments[0].shape[1], "data")
            raise
        except TypeError as error:
            text = first_line(error)
            if self.is_known or self.takes_model or not ("not callable" in text or "positional argument" in text):
                raise
            remedy = "a loss is called with (output, *targets), or with (model, batch) if its first argument is model"
            raise InputError("loss", self.name, f"{text}; {remedy}") from error

    def value(self, raw: Any, rows: int | None = None) -> Tensor:
        """The loss of a batch, a scalar, from what the loss returned; `rows` is the number of its examples."""
        # a loss of (sum, count) is divided by rows × the mean count of the data, if they are known, so that the mean
        # over examples is the sum over the data divided by the count over the data
        if isinstance(raw, tuple | list) and len(raw) == 2:
            count, mean_count = as_count(raw[1]), self.mean_count
            return _scalar(raw[0]) / (count if mean_count is None or rows is None else rows * mean_count)
        return _scalar(raw)

    def weight(self, targets: tuple[Any, ...], rows: int) -> float:
        """What the mean of a batch of `rows` examples was divided by; 1 for a loss that is a sum."""
        return float(self.weights(targets, rows).sum()) if self.is_mean else 1.0

    def weights(self, targets: tuple[Any, ...], rows: int) -> Float[Tensor, " example"]:
        """What the mean of each example alone would be divided by, float64; a batch's is divided by their sum."""
        first = targets[0] if targets else None
        if self.is_known and self.by_class and isinstance(first, Tensor) and not first.is_floating_point():
            counted = self.counted(first)
            if not self.is_mean:
                return counted.reshape(rows, -1).any(1).double()
            weights = _class_weights(self.loss, first.masked_fill(~counted, 0))
            return (counted * weights).reshape(rows, -1).sum(1)
        device = first.device if isinstance(first, Tensor) else None
        return torch.full((rows,), self.terms(targets, rows), dtype=torch.float64, device=device)

    def terms(self, targets: tuple[Any, ...], rows: int) -> float:
        """Of how many terms an example's loss is the mean, such as its outputs for a squared error; 1 for a sum."""
        first = targets[0] if targets else None
        if not self.is_mean or self._by_row or not isinstance(first, Tensor):
            return 1.0
        probabilities = self.by_class and first.is_floating_point() and first.ndim > 0
        classes = first.shape[min(1, first.ndim - 1)] if probabilities else 1  # the class axis is summed over
        return first.numel() / max(1, classes) / max(1, rows)

    def check_softmax(self, output: Tensor) -> None:
        """Refuse outputs whose softmax over the axis after the example's are not the probabilities of classes."""
        remedy = 'expected of="logits" or of="loss"'
        if output.ndim < 2 or output.shape[1] < 2:
            raise InputError("of", "probabilities", f"the softmax of one output is always 1: {remedy}")
        if isinstance(self.loss, nn.BCEWithLogitsLoss | nn.MultiLabelSoftMarginLoss):
            raise InputError("of", "probabilities", f"under {type(self.loss).__name__} they are no softmax: {remedy}")
        if output.ndim > 2 and not self.by_class:
            value = f"probabilities of outputs of shape {tuple(output.shape)}"
            raise InputError("of", value, f"no axis is known as classes: {remedy}")


def is_correct(
    outputs: Float[Tensor, "member example classes *place"], targets: Shaped[Tensor, "member example *place"]
) -> Bool[Tensor, "member example *place"]:
    """Whether the largest output is the target's; never if an output is not finite, and of ties the first counts."""
    largest = outputs.amax(2, keepdim=True)
    finite = largest.squeeze(2).isfinite() & outputs.amin(2).isfinite()
    numbers = largest.numel() - int(torch.count_nonzero(largest.isnan()))
    if int(torch.count_nonzero(outputs == largest)) == numbers:  # no ties: eight times as fast as `argmax`
        return (outputs.gather(2, targets.unsqueeze(2)) == largest).squeeze(2) & finite
    return (outputs.argmax(2) == targets) & finite


def as_count(count: Any) -> Any:
    """Check the count of a loss that returns (sum, count); a tensor stays one, for `vmap`."""
    if isinstance(count, Tensor):
        if count.numel() != 1 or count.is_complex():
            raise InputError("loss", f"gives a count of shape {tuple(count.shape)}", "expected (sum, count)")
        if count.requires_grad:
            remedy = "its count depends on the parameters; expected a count that follows from the batch alone"
            raise InputError("loss", "returns (sum, count)", remedy)
        return count.reshape(())
    if not is_real(count):
        raise InputError("loss", f"gives {kind_of(count)} as count", "expected (sum, count), both numbers")
    return count


def _as_module(loss: Any) -> Any:
    """Turn a name or a function of PyTorch, with keyword arguments or without, into its module: F.mse_loss, MSELoss."""
    if isinstance(loss, str) and loss in _NAMED:
        return _NAMED[loss]()
    function: Any = loss
    settings: dict[str, Any] = {}
    while isinstance(function, partial) and not function.args:
        function, settings = function.func, {**function.keywords, **settings}
    if not inspect.isroutine(function) or function.__module__ != nn.functional.__name__:
        return loss
    name = function.__name__.replace("binary_cross_entropy", "bce").replace("_", "").removesuffix("loss")
    module = _MODULES.get(f"{name}loss")
    try:
        return loss if module is None else module(**settings)
    except TypeError:  # an argument that only the function has
        return loss


def _takes_model(loss: Any) -> bool:
    """Tell a loss of (model, batch) from one of (output, *targets) by the name of its first argument."""
    try:
        arguments = list(inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters.values())
    except (TypeError, ValueError):
        return False
    needed = [one for one in arguments if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return len(needed) == 2 and needed[0].name in _MODEL_NAMES


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise InputError("loss", f"gives {kind_of(value)}", "expected one number as a tensor, or (sum, count)")
    if value.numel() != 1:
        raise InputError("loss", f"gives shape {tuple(value.shape)}", "expected one number, a mean or a sum")
    if not value.is_floating_point():
        raise InputError("loss", f"gives {value.dtype}", "expected a real number that follows from the output")
    return value.reshape(())


def _class_weights(loss: nn.CrossEntropyLoss | nn.NLLLoss, classes: Tensor) -> Tensor:
    if loss.weight is None:
        return torch.ones_like(classes, dtype=torch.float64)
    known = classes.clamp(0, len(loss.weight) - 1)  # the loss itself says what is wrong with any other
    return loss.weight.detach().to(classes.device, torch.float64)[known]
