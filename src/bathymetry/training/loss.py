"""Losses: two by name, and any function of output and target that gives a mean over the batch."""

import copy
import inspect
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError, first_line

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
    right = is_correct(outputs, targets.masked_fill(~counted, 0)) & counted
    return right.flatten(1).sum(1, dtype=torch.float64), counted.flatten(1).sum(1, dtype=torch.float64)


def is_correct(
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


_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
# compared element by element, and PyTorch would broadcast
_BY_ELEMENT = (
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.PoissonNLLLoss, nn.SoftMarginLoss, nn.KLDivLoss,
    nn.HingeEmbeddingLoss,
)  # fmt: skip
_MODULES: dict[Any, type[nn.Module]] = {  # the module that knows what a function of PyTorch divides by
    torch.nn.functional.cross_entropy: nn.CrossEntropyLoss,
    torch.nn.functional.nll_loss: nn.NLLLoss,
    torch.nn.functional.mse_loss: nn.MSELoss,
    torch.nn.functional.l1_loss: nn.L1Loss,
    torch.nn.functional.smooth_l1_loss: nn.SmoothL1Loss,
    torch.nn.functional.huber_loss: nn.HuberLoss,
    torch.nn.functional.binary_cross_entropy: nn.BCELoss,
    torch.nn.functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    torch.nn.functional.kl_div: nn.KLDivLoss,
    torch.nn.functional.poisson_nll_loss: nn.PoissonNLLLoss,
    torch.nn.functional.soft_margin_loss: nn.SoftMarginLoss,
    torch.nn.functional.hinge_embedding_loss: nn.HingeEmbeddingLoss,
    torch.nn.functional.ctc_loss: nn.CTCLoss,
    torch.nn.functional.multi_margin_loss: nn.MultiMarginLoss,
    torch.nn.functional.multilabel_soft_margin_loss: nn.MultiLabelSoftMarginLoss,
}
_MODEL_NAMES = ("model", "network", "net", "module")  # of the first argument of a loss that calls the model itself
_BY_ROW = (nn.CTCLoss, nn.TripletMarginLoss, nn.TripletMarginWithDistanceLoss, nn.CosineEmbeddingLoss)


class Criterion:
    """A loss of output and targets, as a user has it.

    Args:
        loss: A loss module with reduction "mean" or "sum"; a function of (output, *targets) that returns the mean over
            its batch or (sum, count); a function of (model, batch) that returns the same, its first argument named
            `model`; or "mse" or "cross_entropy". A module of one's own counts as a function.
        dtype: What to compute in; None for what the loss has.

    Raises:
        InputError: If its reduction is none.
    """

    def __init__(self, loss: Loss, dtype: torch.dtype | None = None) -> None:
        if isinstance(loss, type):
            raise InputError("loss", loss.__name__, f"a class is no loss yet; expected {loss.__name__}()")
        loss = _as_module(loss)
        reduction = getattr(loss, "reduction", "mean") if isinstance(loss, nn.Module) else "mean"
        if reduction == "none":
            raise InputError("loss", f"{loss} with reduction none", "give one with reduction mean or sum")
        if isinstance(loss, nn.Module):  # a copy: what a loss writes into its buffers stays here
            own = copy.deepcopy(loss)
            loss = own if dtype is None else own.to(dtype)  # class weights are of the dtype of what they weigh
        self.loss = loss
        self.is_mean = reduction != "sum"
        self.is_known = type(loss).__module__ == _Loss.__module__  # a subclass may divide by something else
        self.takes_model = _takes_model(loss)
        self.mean_count: float | None = None  # of a loss of (sum, count): the count of an example, a mean over the data
        self._function: Callable[..., Any] = loss_function(loss)
        # PyTorch's other means are over elements
        self._by_row = not self.is_known or reduction == "batchmean" or isinstance(loss, _BY_ROW)

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

    def __call__(self, output: Any, targets: tuple[Any, ...], rows: int | None = None) -> Tensor:
        """Give the loss of a batch.

        Args:
            output: What the network answered.
            targets: What it should have.
            rows: The batch's examples, if the loss of (sum, count) is to be scaled by the mean count over the data.

        Returns:
            A scalar.
        """
        return self.value(self.raw(output, *targets), rows)

    def raw(self, *arguments: Any) -> Any:
        """Call the loss.

        Args:
            *arguments: The output and the targets, or the model and the batch.

        Returns:
            What it returns: a number, or (sum, count).

        Raises:
            InputError: If it would broadcast outputs or targets of different shapes, or takes other arguments.
            TypeError: If it fails for another reason.
        """
        if type(self.loss) in _BY_ELEMENT and all(isinstance(one, Tensor) for one in arguments[:2]):
            output, target = (tuple(one.shape) for one in arguments[:2])
            if output != target:  # PyTorch would compare each with each
                remedy = f"give targets of the outputs' shape, {output}"
                raise InputError("data", f"targets of shape {target}", remedy)
        try:
            return self._function(*arguments)
        except TypeError as error:
            text = first_line(error)
            if self.is_known or self.takes_model or not ("not callable" in text or "positional argument" in text):
                raise
            remedy = (
                f"{text}; a loss is called with (output, *targets), or with (model, batch) if its first argument is"
            )
            raise InputError("loss", self.name, f"{remedy} named model") from error

    def value(self, raw: Any, rows: int | None = None) -> Tensor:
        """Take the loss of a batch from what the loss returned.

        Args:
            raw: A number, or (sum, count).
            rows: The batch's examples; None for the batch's own mean, whatever the rest of the data.

        Returns:
            A scalar. Of (sum, count) it is the sum divided by the examples and their mean count, so that the mean over
            examples is the sum over the data divided by the count over the data.
        """
        if isinstance(raw, tuple | list) and len(raw) == 2:
            count = as_count(raw[1])
            whole = self.mean_count
            return _scalar(raw[0]) / (count if whole is None or rows is None else rows * whole)
        return _scalar(raw)

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
        labels = isinstance(first, Tensor) and not first.is_floating_point()
        if self.is_known and isinstance(self.loss, _BY_CLASS) and isinstance(first, Tensor) and labels:
            counted = self.counted(first)
            if not self.is_mean:
                return counted.reshape(rows, -1).any(1).double()
            weights = _class_weights(self.loss, first.masked_fill(~counted, 0))
            return (counted * weights).reshape(rows, -1).sum(1)
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


def _as_module(loss: Loss) -> Loss:
    """Turn a name or a function of PyTorch, with keyword arguments or without, into the module that it stands for."""
    if isinstance(loss, str):
        return {"mse": nn.MSELoss(), "cross_entropy": nn.CrossEntropyLoss()}.get(loss, loss)
    function: Any = loss
    settings: dict[str, Any] = {}
    while isinstance(function, partial) and not function.args:
        function, settings = function.func, {**function.keywords, **settings}
    module = _MODULES.get(function) if inspect.isroutine(function) else None
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
        remedy = "it must give one number, as a tensor, or a sum and a count"
        raise InputError("loss", f"gives a {type(value).__name__}", remedy)
    if value.numel() != 1:
        raise InputError("loss", f"gives shape {tuple(value.shape)}", "it must give one number, a mean or a sum")
    if not value.is_floating_point():
        raise InputError("loss", f"gives {value.dtype}", "it must give a real number that follows from the output")
    return value.reshape(())


def as_count(count: Any) -> Any:
    """Check the count of a loss that returns (sum, count).

    Args:
        count: What it returned.

    Returns:
        The count; a tensor stays one, for `vmap`.

    Raises:
        InputError: If it is not one number, or follows from the parameters.
    """
    if isinstance(count, Tensor):
        if count.numel() != 1 or count.is_complex():
            raise InputError("loss", f"gives a count of shape {tuple(count.shape)}", "expected (sum, count)")
        if count.requires_grad:
            remedy = "its count depends on the parameters; expected a count that follows from the batch alone"
            raise InputError("loss", "returns (sum, count)", remedy)
        return count.reshape(())
    if isinstance(count, bool) or not isinstance(count, Real):
        raise InputError("loss", f"gives a {type(count).__name__} as count", "expected (sum, count), both numbers")
    return count


def _class_weights(loss: nn.CrossEntropyLoss | nn.NLLLoss, classes: Tensor) -> Tensor:
    if loss.weight is None:
        return torch.ones_like(classes, dtype=torch.float64)
    known = classes.clamp(0, len(loss.weight) - 1)  # the loss itself says what is wrong with any other
    return loss.weight.detach().to(classes.device, torch.float64)[known]
