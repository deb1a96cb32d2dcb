"""Loss and accuracy over a whole set of examples, in passes that stay inside the processor's cache."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.memory import free_bytes, gigabytes
from bathymetry.core.showing import readable
from bathymetry.data.examples import Examples
from bathymetry.training.criterion import Criterion
from bathymetry.training.losses import Loss, are_classes, correct_answers, summed_losses
from bathymetry.training.stacking import Stack

_PASS_BYTES = 4_000_000


@readable
class EvaluationSet:
    """Examples to be judged by, with targets of each member's own if it has them."""

    examples: Examples
    own_targets: Shaped[Tensor, "member example *target"] | None = None  # None: all share those of the examples


@readable
class Score:
    """How an ensemble does on a set."""

    loss: Float[Tensor, " member"]  # mean over the whole set, float64
    accuracy: Float[Tensor, " member"] | None  # share of correct answers; None where there are no classes


def evaluate(
    stack: Stack, loss: Loss, criterion: Criterion, examples: EvaluationSet, members: int, dtype: torch.dtype
) -> Score:
    """Judge every member by a whole set.

    Args:
        stack: The ensemble.
        loss: Which loss; the two that have names are summed for all members at once.
        criterion: The same loss, with the weight that a part of the set has in the whole.
        examples: What to judge by.
        members: How many members there are.
        dtype: What the ensemble computes in.

    Returns:
        The loss of the whole set, however it is cut into passes, and accuracies over the labels that count in it.
    """
    data = examples.examples
    features = max(1, data.inputs[0].numel())
    size = max(256, _PASS_BYTES // (4 * max(features, 32 * members)))
    losses: _Named | _Weighted | _AtOnce
    if isinstance(loss, str):
        losses = _Named(loss, members)
    else:
        losses = _Weighted(criterion, members) if criterion.is_known else _AtOnce(criterion)
    correct = counted = torch.zeros(members, dtype=torch.float64)
    classes = False
    for start in range(0, len(data), size):
        part = slice(start, start + size)
        outputs = stack.outputs(data.seen(data.inputs[part], dtype))
        targets = _targets(examples, part, members)
        losses.add(outputs, targets, len(data))
        classes = are_classes(outputs, targets)
        if classes:
            right, counts = correct_answers(outputs, targets, criterion.counted(targets))
            correct, counted = correct + right.cpu(), counted + counts.cpu()
    return Score(losses.whole().cpu(), correct / counted if classes else None)


class _Named:
    """A loss by name: sums over examples."""

    def __init__(self, loss: str, members: int) -> None:
        self._loss, self._total, self._rows = loss, torch.zeros(members, dtype=torch.float64), 0

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:
        self._total, self._rows = self._total + summed_losses(self._loss, outputs, targets).cpu(), rows

    def whole(self) -> Tensor:
        return self._total / self._rows


class _Weighted:
    """A loss whose parts add up by known weights."""

    def __init__(self, criterion: Criterion, members: int) -> None:
        self._criterion = criterion
        self._total, self._weight = torch.zeros(members, dtype=torch.float64), torch.zeros(members, dtype=torch.float64)

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:  # noqa: ARG002 - one way to call all three
        for place, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            weight = self._criterion.weight((target,), len(output))
            if weight > 0:  # a mean over nothing is NaN, and counts for nothing
                self._total[place] += weight * float(self._criterion(output, (target,)))
            self._weight[place] += weight

    def whole(self) -> Tensor:
        return self._total / self._weight if self._criterion.is_mean else self._total


class _AtOnce:
    """A loss that may be anything: the outputs of the whole set are kept, and it is asked once."""

    def __init__(self, criterion: Criterion) -> None:
        self._criterion, self._parts = criterion, list[tuple[Tensor, Tensor]]()

    def add(self, outputs: Tensor, targets: Tensor, rows: int) -> None:
        if not self._parts:
            needed, free = 2 * rows * (outputs.nbytes // outputs.shape[1]), free_bytes()
            if needed > free:
                told = f"it is asked for the outputs of all {rows:,} examples at once, {gigabytes(needed)} of memory"
                remedy = f"{told}, and {gigabytes(free)} are free; expected a loss module of PyTorch, or fewer examples"
                raise InputError("loss", self._criterion.name, remedy)
        self._parts.append((outputs.clone(), targets))  # a stack may write its next outputs into the same memory

    def whole(self) -> Tensor:
        outputs, targets = (torch.cat(parts, dim=1) for parts in zip(*self._parts, strict=True))
        each = [self._criterion(one, (target,)).double() for one, target in zip(outputs, targets, strict=True)]
        return torch.stack(each)


def _targets(examples: EvaluationSet, part: slice, members: int) -> Tensor:
    if examples.own_targets is not None:
        return examples.own_targets[:, part]
    targets = examples.examples.targets[part]
    return targets.expand(members, *targets.shape)
