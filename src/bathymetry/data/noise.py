"""Labels that mean nothing: a share of them drawn anew, each member's own."""

from numbers import Real

import torch
from jaxtyping import Int
from torch import Tensor

from bathymetry.core.checks import check_dense, whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.memory import free_bytes, gigabytes
from bathymetry.core.streams import stream


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
