"""Labels: class numbers however they are stored, and label noise."""

from numbers import Real
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.system import check_memory
from bathymetry.core.tensors import stream

Numbers = NDArray[np.int64]

_FEW: Final = 1000  # classes that any data set may have; more than these need as many examples
_MOST: Final = 100_000


class FormatError(ValueError):
    """Arrays or files that make no data set; its text is what is wrong and what is expected."""


def class_numbers(train: NDArray[Any], test: NDArray[Any]) -> tuple[Numbers, Numbers, int, list[str]]:
    """Read class numbers from 0 or from 1, or one-hot rows, as numbers from 0, their count and notes in words."""
    columns = [half.reshape(len(half), -1) for half in (train, test)]
    notes = []
    if any(half.shape[1] > 1 for half in columns):
        count = columns[0].shape[1]
        if columns[1].shape[1] != count or not all(_is_one_hot(half) for half in columns):
            shapes = f"{train.shape} and {test.shape}"
            raise FormatError(f"its classes have shapes {shapes}; expected one number per example, or one-hot rows")
        notes.append("one-hot rows read as class numbers")
        learned, judged = (half.argmax(1) for half in columns)
    else:
        first, count = _range_of_classes(*columns)
        if first == 1:
            notes.append(f"classes 1 to {count} read as 0 to {count - 1}")
        count = max(count, 2)
        learned, judged = (half[:, 0].astype(np.int64) - first for half in columns)
    unknown = np.setdiff1d(judged, learned)
    if unknown.size:
        few = ", ".join(map(str, unknown[:5])) + (", …" if unknown.size > 5 else "")
        notes.append(f"of class{'es' if unknown.size > 1 else ''} {few} there are test examples alone")
    return learned, judged, count, notes


def _is_one_hot(rows: NDArray[Any]) -> bool:
    ones = rows == 1
    return bool((ones.sum(1) == 1).all() and (ones | (rows == 0)).all())


def _range_of_classes(train: NDArray[Any], test: NDArray[Any]) -> tuple[int, int]:
    """Find the lowest class, 0 or 1, and the number of classes."""
    ends = [(int(half.min()), int(half.max())) for half in (train, test)]
    (low, high), (other_low, other_high) = sorted(ends)
    if (low, other_low, other_high) == (0, 1, high + 1) and high > 0:  # the same classes, counted in two ways
        ranges = " and ".join(f"from {low} to {high}" for low, high in ends)
        raise FormatError(f"its training and test classes go {ranges}; expected both from 0, or both from 1")
    high = max(high, other_high)
    if low < 0:
        raise FormatError(f"a class is {low}; expected classes from 0")
    first, examples = int(low == 1), len(train) + len(test)
    if high + 1 - first > min(max(_FEW, examples), _MOST):
        remedy = "number the classes that occur from 0 (numpy.unique with return_inverse), or store values as floats"
        raise FormatError(f"a class is {high:,} among {examples:,} examples; {remedy}")
    return first, high + 1 - first


def label_noise(
    labels: Int[Tensor, " example"], share: float, classes: int, members: range, seed: int = 0
) -> Int[Tensor, "member example"]:
    """Replace a share of the labels by uniform draws from all classes.

    Args:
        labels: The true labels.
        share: The share to replace, from 0 to 1; a draw may be the true label again.
        classes: Number of classes.
        members: The members' numbers; each member has its own draw, whichever others are asked for.
        seed: Seed of the draws.

    Returns:
        Labels for each member, round(share · examples) of them replaced.

    Raises:
        InputError: If an argument is out of range or of another kind, or the labels do not fit into memory.

    Example:
        >>> label_noise(torch.zeros(4, dtype=torch.int64), 0.0, 10, range(2)).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 0]]
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
        raise InputError("share", share, "expected a share from 0 to 1")
    classes, seed = whole_number("classes", classes, 2, 2**63 - 1), whole_number("seed", seed, 0)
    if not isinstance(members, range) or len(members) == 0 or min(members[0], members[-1]) < 0:
        raise InputError("members", members, "expected a range of at least one member, such as range(10)")
    _check_labels(labels, classes)
    needed = 8 * labels.numel() * len(members)
    check_memory("members", members, needed, "their labels need", "expected fewer members")
    count = round(share * len(labels))
    noisy = labels.repeat(len(members), 1)
    for own, member in zip(noisy, members, strict=True):
        generator = stream(seed, member, "label noise")
        chosen = torch.randperm(len(labels), generator=generator)[:count]
        own[chosen] = torch.randint(0, classes, (count,), generator=generator)
    return noisy


def _check_labels(labels: Tensor, classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1 or labels.dtype == torch.bool:
        raise InputError("labels", labels, "expected a tensor of whole numbers, one per example")
    check_dense("labels", labels)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        ends = f"from {int(labels.min())} to {int(labels.max())}"
        raise InputError("labels", ends, f"expected class numbers from 0 to {classes - 1}")
