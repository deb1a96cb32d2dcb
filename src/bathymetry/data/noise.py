"""Labels that mean nothing: a share of them drawn anew, each member's own."""

import torch
from jaxtyping import Int
from torch import Tensor

from bathymetry.core.errors import InputError
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
        InputError: If the share or the classes can't be.

    Example:
        >>> label_noise(torch.zeros(4, dtype=torch.int64), 0.0, 10, range(2)).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 0]]
    """
    if not 0 <= share <= 1:
        raise InputError("share", share, "give a share from 0 to 1")
    if classes < 2 or (len(labels) and int(labels.max()) >= classes):
        raise InputError("classes", classes, "give at least 2, and more than the largest label")
    count = round(share * len(labels))
    drawn = []
    for member in members:
        own, generator = labels.clone(), stream(seed, member, "label noise")
        chosen = torch.randperm(len(labels), generator=generator)[:count]
        own[chosen] = torch.randint(0, classes, (count,), generator=generator)
        drawn.append(own)
    return torch.stack(drawn)
