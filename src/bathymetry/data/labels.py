"""Class numbers of training and test examples, whatever they are counted from."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.streams import stream

Numbers = NDArray[np.int64]

_FEW: Final = 1000  # classes that any data set may have; more than these need as many examples
_MOST: Final = 100_000


class ClassError(ValueError):
    """Numbers that are no classes; its text is what is wrong and what is expected."""


@dataclass(frozen=True)
class Classes:
    """Class numbers from 0."""

    train: Numbers
    test: Numbers
    count: int
    notes: tuple[str, ...]  # what a reader should know of them, in words


def class_numbers(train: NDArray[Any], test: NDArray[Any]) -> Classes:
    """Read class numbers, counted from 0 or from 1, or as one-hot rows.

    Args:
        train: Whole numbers or truth values of the training examples, (example,), (example, 1) or (example, class).
        test: Those of the test examples.

    Returns:
        The classes, counted from 0.

    Raises:
        ClassError: If they are no class numbers.

    Example:
        >>> class_numbers(np.array([1, 3, 2]), np.array([[2]])).test
        array([1])
    """
    halves = [half.reshape(len(half), -1) for half in (train, test)]
    notes = []
    if any(half.shape[1] > 1 for half in halves):
        count = halves[0].shape[1]
        if any(half.shape[1] != count or not _is_one_hot(half) for half in halves):
            shapes = " and ".join(str(half.shape) for half in (train, test))
            raise ClassError(f"its classes have shapes {shapes}; expected one number an example, or one-hot rows")
        notes.append("one-hot rows read as class numbers")
        learned, judged = (half.argmax(1) for half in halves)
    else:
        ends = [(int(half.min()), int(half.max())) for half in halves]
        if _shifted(*ends):
            told = " and ".join(
                f"{name} ones from {a} to {b}" for name, (a, b) in zip(("training", "test"), ends, strict=True)
            )
            raise ClassError(
                f"its classes are counted differently, {told}; expected both counted from 0, or both from 1"
            )
        low, high = min(int(half.min()) for half in halves), max(int(half.max()) for half in halves)
        if low < 0:
            raise ClassError(f"a class is {low}; expected classes from 0")
        if low == 1:
            notes.append(f"classes 1 to {high} read as 0 to {high - 1}")
        first = int(low == 1)
        count = max(high + 1 - first, 2)
        examples = sum(map(len, halves))
        if count > min(max(_FEW, examples), _MOST):
            remedy = (
                "number the classes that occur from 0 (numpy.unique with return_inverse), or store values as floats"
            )
            raise ClassError(f"a class is {high:,} among {examples:,} examples; {remedy}")
        learned, judged = (half[:, 0].astype(np.int64) - first for half in halves)
    unknown = np.setdiff1d(judged, learned)
    if unknown.size:
        few = ", ".join(map(str, unknown[:5])) + (", …" if unknown.size > 5 else "")
        notes.append(f"of class{'es' if unknown.size > 1 else ''} {few} there are test examples alone")
    return Classes(learned.astype(np.int64), judged.astype(np.int64), count, tuple(notes))


def _shifted(train: tuple[int, int], test: tuple[int, int]) -> bool:
    """Tell whether the same classes seem to be counted from 0 in one half and from 1 in the other."""
    (low, high), (other_low, other_high) = sorted((train, test))
    return low == 0 and other_low == 1 and other_high == high + 1 and high > 0


def _is_one_hot(rows: NDArray[Any]) -> bool:
    ones = rows == 1
    return bool((ones.sum(1) == 1).all() and (ones | (rows == 0)).all())


def label_noise(
    labels: Int[Tensor, " example"], share: float, classes: int, members: range, seed: int = 0
) -> Int[Tensor, "member example"]:
    """Replace a share of the labels by uniform draws from all classes.

    Args:
        labels: The true ones.
        share: How many to replace, from 0 to 1; a draw may be the true label again.
        classes: How many classes there are.
        members: The members' numbers; member 3 has the same labels whoever is drawn beside it.
        seed: Of the draws.

    Returns:
        Labels for each member, exactly the nearest whole number of them replaced.

    Raises:
        InputError: If one of them can't be.

    Example:
        >>> label_noise(torch.zeros(4, dtype=torch.int64), 0.0, 10, range(2)).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 0]]
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
        raise InputError("share", share, "give a share from 0 to 1")
    classes, seed = whole_number("classes", classes, 2, 2**63 - 1), whole_number("seed", seed, 0)
    if not isinstance(members, range) or len(members) == 0 or min(members[0], members[-1]) < 0:
        raise InputError("members", members, "give a range of at least one member, such as range(10)")
    labels = _checked(labels, classes)
    needed = 8 * labels.numel() * len(members)
    if needed > (free := free_bytes()):
        remedy = f"their labels need {gigabytes(needed)} and there are {gigabytes(free)}; give fewer members"
        raise InputError("members", members, remedy)
    count = round(share * len(labels))
    drawn = []
    for member in members:
        own, generator = labels.clone(), stream(seed, member, "label noise")
        chosen = torch.randperm(len(labels), generator=generator)[:count]
        own[chosen] = torch.randint(0, classes, (count,), generator=generator)
        drawn.append(own)
    return torch.stack(drawn)


def _checked(labels: Tensor, classes: int) -> Tensor:
    if isinstance(labels, Tensor):
        check_dense("labels", labels)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1 or labels.dtype == torch.bool:
        shown = f"{labels.dtype} of {labels.ndim} axes" if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError("labels", shown, "give a tensor of whole numbers, one an example")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        shown = f"from {int(labels.min())} to {int(labels.max())}"
        raise InputError("labels", shown, f"give class numbers from 0 to {classes - 1}, or more classes")
    return labels
