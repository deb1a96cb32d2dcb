"""A part of a data set, drawn by a seed."""

from numbers import Integral

import torch

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.streams import stream
from bathymetry.data.examples import PART_OF, Data, Examples
from bathymetry.data.identity import digest


def subset(data: Data, train: int | None = None, test: int | None = None, seed: int = 0) -> Data:
    """Draw examples from a data set, without putting back.

    Args:
        data: The data set.
        train: Training examples; all if None.
        test: Test examples; all if None.
        seed: Which draw; all members share it.

    Returns:
        A data set with the same name; its source says how much of it this is.

    Raises:
        InputError: If these are no data, or do not have as many.

    Example:
        >>> from bathymetry.data.functions import function
        >>> len(subset(function("cos"), train=10).train)
        10
    """
    if not isinstance(data, Data):
        raise InputError("data", type(data).__name__, "give what bm.load gives")
    whole_number("seed", seed, 0)
    if train is None and test is None:
        return data
    chosen = _drawn(data.train, train, seed, 0, "train_examples")
    judged = _drawn(data.test, test, seed, 1, "test_examples")
    if chosen is data.train and judged is data.test:
        return data
    part = f"{len(chosen):,} training and {len(judged):,} test examples, drawn by seed {seed}"
    source = f"{data.source}{PART_OF}{part}"
    return Data(data.name, chosen, judged, digest(chosen, judged), source, data.classes, data.image_shape)


def _drawn(examples: Examples, count: int | None, seed: int, index: int, field: str) -> Examples:
    if count is None:
        return examples
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= len(examples):
        raise InputError(field, count, f"give from 1 to {len(examples)}, which is what the data has")
    if count == len(examples):
        return examples
    order = torch.randperm(len(examples), generator=stream(seed, -1, "data draw", index))[:count]
    return Examples(examples.inputs[order], examples.targets[order], examples.scale)
