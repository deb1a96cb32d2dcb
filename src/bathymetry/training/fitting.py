"""Whether data, network and loss fit each other, tried on a few examples before anything is trained.

PyTorch would say it later, in terms of its own, or, where a loss broadcasts targets of another shape, not at all.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line
from bathymetry.training.loss import Criterion, Loss
from bathymetry.training.members import copied
from bathymetry.training.records import EvaluationSet

_REFUSALS = (RuntimeError, IndexError, ValueError, TypeError, UserWarning)
_FEW = 8


def check_fit(
    network: nn.Module,
    loss: Loss,
    criterion: Criterion,
    sets: Mapping[str, EvaluationSet],
    batch_size: int | None,
    dtype: torch.dtype,
) -> None:
    """Insist that a network can learn from examples and be judged by them, or say what does not fit.

    Args:
        network: One of the members; it is left as it was.
        loss: Which loss.
        criterion: The same loss, as it is called on outputs and targets.
        sets: "train" first, then what to judge by: "test", or "evaluate_on[NAME]".
        batch_size: Examples a batch; None for all.
        dtype: What the network computes in.
    """
    for name, one in sets.items():
        check_numbers(name, one)
    own = copied(network).to(device=next(iter(sets.values())).examples.inputs.device, dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        for place, (name, one) in enumerate(sets.items()):
            chosen = _telling(one.examples.inputs)
            inputs = one.examples.scaled(one.examples.inputs[chosen], dtype)
            outputs = _answers(own.eval(), inputs, name, len(one.examples))
            _check_targets(loss, criterion, outputs, one, chosen, name)
            if place == 0:
                _check_last_batch(own.train(), inputs, len(one.examples), batch_size)


def check_numbers(name: str, one: EvaluationSet) -> None:
    """Insist on at least one example and on finite numbers.

    Args:
        name: What the set is called.
        one: The set.

    Raises:
        InputError: If there is none, or a number is NaN or infinite.
    """
    if len(one.examples) == 0:
        raise InputError(_field("x", name), "no example", "give at least one")
    for letter, tensor in (("x", one.examples.inputs), ("y", one.examples.targets), ("y", one.own_targets)):
        if tensor is not None and tensor.is_floating_point():
            wrong = tensor.numel() - int(tensor.isfinite().sum())
            if wrong:
                remedy = "leave those examples out, or fill them in"
                told = f"{wrong} numbers of {tensor.numel()} that are NaN or infinite"
                raise InputError(_field(letter, name), told, remedy)


def _telling(inputs: Tensor) -> Tensor:
    """Choose a few examples: some from all over, or of whole numbers those that hold the smallest and the largest."""
    if inputs.is_floating_point() or inputs.dtype == torch.uint8:
        last = len(inputs) - 1
        return torch.linspace(0, last, min(_FEW, len(inputs)), device=inputs.device).round().long()
    each = inputs.reshape(len(inputs), -1)
    return torch.stack([each.amin(1).argmin(), each.amax(1).argmax()])


def _answers(network: nn.Module, inputs: Tensor, name: str, count: int) -> Tensor:
    try:
        with torch.no_grad():
            outputs = network(inputs)
            alone = network(inputs[:1]) if inputs.ndim == 1 else None  # which a layer may take for one example
    except _REFUSALS as error:
        whole = "" if inputs.is_floating_point() else ", as floats unless it embeds whole numbers"
        remedy = f"the network can't take them ({first_line(error)}); give inputs that it takes{whole}"
        raise InputError(_field("x", name), _kind(inputs, count), remedy) from error
    if not isinstance(outputs, Tensor):
        remedy = "give a network whose output is one tensor"
        raise InputError("build", f"a network that gives a {type(outputs).__name__}", remedy)
    if outputs.shape[:1] != inputs.shape[:1] or (alone is not None and alone.shape[:1] != (1,)):
        given = f"a network that gives {tuple(outputs.shape)} for {len(inputs)} examples"
        raise InputError("build", given, "give one whose output has a row for each example")
    return outputs


def _check_targets(
    loss: Loss, criterion: Criterion, outputs: Tensor, one: EvaluationSet, chosen: Tensor, name: str
) -> None:
    every = one.examples.targets if one.own_targets is None else one.own_targets.flatten(0, 1)
    targets = every[chosen]
    field = _field("y", name) if one.own_targets is None or name != "train" else "targets"
    count = len(one.examples)
    said = f"{_kind(targets, count)}, where the network gives {(count, *outputs.shape[1:])}"
    classes = not targets.is_floating_point() and targets.dtype != torch.bool
    if isinstance(loss, str) and loss == "mse":
        if not targets.is_floating_point():
            raise InputError(field, said, 'give values, or loss="cross_entropy" if they are classes')
        if targets.shape != outputs.shape:
            raise InputError(field, said, "give both the same shape")
        return
    if loss == "cross_entropy" or (criterion.by_class and classes):
        if outputs.ndim < 2 or not classes or targets.shape != (len(outputs), *outputs.shape[2:]):
            raise InputError(field, said, 'give each example the number of its class, or loss="mse" for values')
        _check_classes(criterion, every, outputs.shape[1], field)
    if not isinstance(loss, str):
        _check_own_loss(loss, criterion, outputs, targets, f"{field} of {said}")


def _check_classes(criterion: Criterion, labels: Tensor, width: int, field: str) -> None:
    """Insist on labels that have an output each, or that the loss ignores."""
    wrong = criterion.counted(labels) & ((labels < 0) | (labels >= width))
    if bool(wrong.any()):
        low, high, first = int(labels.min()), int(labels.max()), int(labels[wrong][0])
        remedy = (
            f"expected classes from 0 to {width - 1}, a network with an output for each class, or, where {first} marks "
            f"what has no label, loss=torch.nn.CrossEntropyLoss(ignore_index={first})"
        )
        raise InputError(field, f"classes from {low} to {high}, where the network gives {width} outputs", remedy)
    if not bool(criterion.counted(labels).any()):
        raise InputError(field, f"{labels.numel()} labels that the loss ignores", "expected labels that count")


def _check_own_loss(loss: Loss, criterion: Criterion, outputs: Tensor, targets: Tensor, said: str) -> None:
    shown = getattr(loss, "__name__", repr(loss))
    if criterion.takes_model:
        raise InputError("loss", shown, "a loss of (model, batch) is for surfaces; expected one of (output, targets)")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")  # PyTorch would go on and broadcast
            raw = criterion.raw(outputs, targets)
    except _REFUSALS as error:
        remedy = f"it can't judge {said} ({first_line(error)}); give targets that fit"
        raise InputError("loss", shown, remedy) from error
    criterion.value(raw)
    if _broadcasts(criterion, outputs, targets):
        remedy = f"it compares every output with every target of {said}; give targets of the outputs' shape"
        raise InputError("loss", shown, remedy)


def _broadcasts(criterion: Criterion, outputs: Tensor, targets: Tensor) -> bool:
    """Tell whether a loss of several examples is their mean only once the targets have the shape of the outputs."""
    if targets.shape == outputs.shape or targets.numel() != outputs.numel():
        return False
    rows = range(len(outputs))
    try:
        whole = criterion(outputs, (targets,))
        alone = torch.stack([criterion(outputs[row : row + 1], (targets[row : row + 1],)) for row in rows]).mean()
        reshaped = criterion(outputs, (targets.reshape(outputs.shape),))
    except _REFUSALS:
        return False
    return bool(torch.isclose(reshaped, alone)) and not bool(torch.isclose(whole, alone))


def _check_last_batch(network: nn.Module, inputs: Tensor, examples: int, batch_size: int | None) -> None:
    last = examples % batch_size if batch_size else examples
    if last == 1 or batch_size == 1:
        try:
            with torch.no_grad():
                network(inputs[:1])
        except _REFUSALS as error:
            remedy = f"a batch has a single example, which the network can't take ({first_line(error)}); give another"
            raise InputError("batch_size", batch_size, remedy) from error


def _field(letter: str, name: str) -> str:
    return f"{letter}_{name}" if name in ("train", "test") else f"{name}.{'inputs' if letter == 'x' else 'targets'}"


def _kind(tensor: Tensor, count: int) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {(count, *tensor.shape[1:])}"
