"""Loss and accuracy over a whole set of examples, in passes that stay inside the processor's cache."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from bathymetry.core.showing import readable
from bathymetry.data.examples import Examples
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


def evaluate(stack: Stack, loss: Loss, examples: EvaluationSet, members: int, dtype: torch.dtype) -> Score:
    """Judge every member by a whole set.

    Args:
        stack: The ensemble.
        loss: Which loss.
        examples: What to judge by.
        members: How many members there are.
        dtype: What the ensemble computes in.

    Returns:
        Mean losses, each example counted once, and accuracies.
    """
    data = examples.examples
    features = max(1, data.inputs[0].numel())
    size = max(256, _PASS_BYTES // (4 * max(features, 32 * members)))
    total = correct = torch.zeros(members, dtype=torch.float64)
    classes = False
    for start in range(0, len(data), size):
        part = slice(start, start + size)
        outputs = stack.outputs(data.seen(data.inputs[part], dtype))
        targets = _targets(examples, part, members)
        total = total + summed_losses(loss, outputs, targets).cpu()
        classes = are_classes(outputs, targets)
        if classes:
            correct = correct + correct_answers(outputs, targets).cpu()
    return Score(total / len(data), correct / len(data) if classes else None)


def _targets(examples: EvaluationSet, part: slice, members: int) -> Tensor:
    if examples.own_targets is not None:
        return examples.own_targets[:, part]
    targets = examples.examples.targets[part]
    return targets.expand(members, *targets.shape)
