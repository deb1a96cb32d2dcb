"""Examples in memory, data sets of training and test examples, random parts of them, and label noise."""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.randomness import stream
from bathymetry.core.showing import short
from bathymetry.core.system import check_memory

PART_OF = "; of these "  # in a source, between a data set and the part of it that was drawn


@dataclass(frozen=True, repr=False)
class Examples:
    """A set of examples; pixels stay bytes until a batch is gathered.

    Args:
        inputs: One row per example: float32, uint8 for pixels, or int64 for numbers that stay whole, such as tokens.
        targets: float32 values, or int64 class numbers.
        scale: The factor between stored inputs and what a network receives; 1/255 for pixels.
    """

    inputs: Shaped[Tensor, "example *feature"]
    targets: Shaped[Tensor, "example *output"]
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, tensor in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(tensor, Tensor):
                raise InputError(name, type(tensor).__name__, "expected a tensor, such as torch.as_tensor makes")
            check_dense(name, tensor)
            if tensor.ndim == 0:
                raise InputError(name, "a single number", "expected one row per example")
        if isinstance(self.scale, bool) or not isinstance(self.scale, Real) or not 0 < abs(self.scale) < math.inf:
            raise InputError("scale", self.scale, "expected a finite number other than 0, such as 1/255 for pixels")
        if len(self.inputs) != len(self.targets):
            raise InputError("targets", f"{len(self.targets)} rows", f"expected one for each of the {len(self)} inputs")

    def __repr__(self) -> str:
        scale = "" if self.scale == 1.0 else f" × {short(self.scale)}"
        inputs, targets = (f"{tuple(one.shape[1:])} {one.dtype}".replace("torch.", "") for one in (self.inputs, self.y))
        return f"Examples({len(self):,}: inputs {inputs}{scale}, targets {targets})"

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def x(self) -> Shaped[Tensor, "example *feature"]:
        """The inputs as a network receives them, float32 or whole numbers."""
        return self.scaled(self.inputs)

    @property
    def y(self) -> Shaped[Tensor, "example *output"]:
        """The targets."""
        return self.targets

    def scaled(
        self, inputs: Shaped[Tensor, "row *feature"], dtype: torch.dtype = torch.float32
    ) -> Shaped[Tensor, "row *feature"]:
        """Convert rows of `inputs` to `inputs * scale`, in the dtype that a network computes in.

        Whole numbers without a scale (int32 and int64) stay as they are, as an embedding expects them.

        Example:
            >>> Examples(torch.tensor([[7, 2]]), torch.tensor([0])).x
            tensor([[7, 2]])
        """
        if not isinstance(inputs, Tensor) or inputs.is_complex():
            raise InputError("inputs", inputs, "expected a tensor of real numbers")
        if not isinstance(dtype, torch.dtype):
            raise InputError("dtype", dtype, "expected one of PyTorch's, such as torch.float32")
        if self.scale == 1.0:
            return inputs if inputs.dtype in (torch.int32, torch.int64) else inputs.to(dtype)
        converted = inputs.to(dtype)
        return converted * self.scale if converted is inputs else converted.mul_(self.scale)


@dataclass(frozen=True, repr=False)
class Data:
    """A data set: training and test examples with a name.

    Args:
        name: The name under which it is loaded.
        train: The examples to train on.
        test: The examples to test on.
        source: Where it comes from, in words.
        classes: Number of classes; None where the targets are values.
        image_shape: Shape of one input that was an image before it was flattened.
    """

    name: str
    train: Examples
    test: Examples
    source: str = "given as tensors"
    classes: int | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        kinds = {"train": Examples, "test": Examples, "name": str, "source": str}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                expected = "text" if kind is str else "Examples(inputs, targets)"
                raise InputError(name, getattr(self, name), f"expected {expected}")
        if self.classes is not None:
            whole_number("classes", self.classes, 1)
        shape = () if self.image_shape is None else self.image_shape
        if not isinstance(shape, tuple) or not all(isinstance(side, Integral) for side in shape):
            raise InputError("image_shape", shape, "expected a tuple of whole numbers, such as (28, 28), or None")

    def __repr__(self) -> str:
        sizes = f"{len(self.train):,} training and {len(self.test):,} test examples"
        shape = tuple(self.train.inputs.shape[1:])
        targets = f"{self.classes} classes" if self.classes else f"targets {tuple(self.train.targets.shape[1:])}"
        return f"Data({self.name}: {sizes}, inputs {shape}, {targets}; {self.source})"

    @cached_property
    def digest(self) -> str:
        """BLAKE2b over shapes, dtypes, scales and bytes of all examples, 32 hexadecimal digits; computed when used."""
        state = hashlib.blake2b(digest_size=16)
        for examples in (self.train, self.test):
            for tensor in (examples.inputs, examples.targets):
                state.update(f"{tensor.dtype}{tuple(tensor.shape)}{examples.scale!r}".encode())
                state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return state.hexdigest()

    @property
    def origin(self) -> str:
        """Source and digest, in words."""
        return f"{self.source}, digest {self.digest}"

    @property
    def x_train(self) -> Shaped[Tensor, "example *feature"]:
        """Training inputs as a network receives them."""
        return self.train.x

    @property
    def y_train(self) -> Shaped[Tensor, "example *output"]:
        """Training targets."""
        return self.train.y

    @property
    def x_test(self) -> Shaped[Tensor, "example *feature"]:
        """Test inputs as a network receives them."""
        return self.test.x

    @property
    def y_test(self) -> Shaped[Tensor, "example *output"]:
        """Test targets."""
        return self.test.y


def subset(data: Data, train: int | None = None, test: int | None = None, seed: int = 0) -> Data:
    """Draw examples from a data set without replacement.

    Args:
        data: The data set.
        train: Number of training examples; None for all.
        test: Number of test examples; None for all.
        seed: Seed of the draw, the same for all members.

    Returns:
        A data set of the same name; its source names the part.

    Example:
        >>> from bathymetry.data import function
        >>> len(subset(function("cos"), train=10).train)
        10
    """
    if not isinstance(data, Data):
        raise InputError("data", data, "expected a data set, such as bm.load returns")
    whole_number("seed", seed, 0)
    train_part = _drawn(data.train, train, seed, 0, "train_examples")
    test_part = _drawn(data.test, test, seed, 1, "test_examples")
    if train_part is data.train and test_part is data.test:
        return data
    part = f"{len(train_part):,} training and {len(test_part):,} test examples, drawn by seed {seed}"
    return replace(data, train=train_part, test=test_part, source=f"{data.source}{PART_OF}{part}")


def _drawn(examples: Examples, count: int | None, seed: int, index: int, field: str) -> Examples:
    if count is None or whole_number(field, count, 1, len(examples)) == len(examples):
        return examples
    order = torch.randperm(len(examples), generator=stream(seed, -1, "data draw", index))[:count]
    return Examples(examples.inputs[order], examples.targets[order], examples.scale)


def label_noise(
    labels: Int[Tensor, " example"], share: float, classes: int, members: range, seed: int = 0
) -> Int[Tensor, "member example"]:
    """Replace a share of the labels by uniform draws from all classes.

    Args:
        labels: The true labels.
        share: The share to replace, from 0 to 1; a draw may be the true label again.
        classes: Number of classes.
        members: Numbers of the members; each has its own draw, whatever the others are.
        seed: Seed of the draws.

    Returns:
        Labels for each member, round(share · examples) of them replaced.

    Example:
        >>> label_noise(torch.zeros(4, dtype=torch.int64), 0.0, 10, range(2)).tolist()
        [[0, 0, 0, 0], [0, 0, 0, 0]]
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
        raise InputError("share", share, "expected a share from 0 to 1")
    classes, seed = whole_number("classes", classes, 2, 2**63 - 1), whole_number("seed", seed, 0)
    if not isinstance(members, range) or len(members) == 0 or min(members[0], members[-1]) < 0:
        raise InputError("members", members, "expected a range of at least one member, such as range(10)")
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.ndim != 1 or labels.dtype == torch.bool:
        raise InputError("labels", labels, "expected a tensor of whole numbers, one per example")
    check_dense("labels", labels)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        found = f"from {int(labels.min())} to {int(labels.max())}"
        raise InputError("labels", found, f"expected class numbers from 0 to {classes - 1}")
    check_memory("members", members, 8 * len(labels) * len(members), "their labels need", "expected fewer members")
    count = round(share * len(labels))
    noisy = labels.repeat(len(members), 1)
    for own, member in zip(noisy, members, strict=True):
        generator = stream(seed, member, "label noise")
        chosen = torch.randperm(len(labels), generator=generator)[:count]
        own[chosen] = torch.randint(0, classes, (count,), generator=generator)
    return noisy
