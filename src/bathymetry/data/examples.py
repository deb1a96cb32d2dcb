"""Examples in memory, and data sets: examples to train on and examples to test on."""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real

import torch
from jaxtyping import Shaped
from torch import Tensor

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.showing import short
from bathymetry.core.tensors import stream

PART_OF = "; of these "  # in a source, between a data set and the part of it that was drawn


@dataclass(frozen=True, repr=False)
class Examples:
    """A set of examples, stored as it came; pixels stay bytes until a batch is gathered.

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
                raise InputError(name, f"a {type(tensor).__name__}", "expected a tensor, such as torch.as_tensor makes")
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
        """The inputs as a network receives them: float32, or whole numbers as they are."""
        return self.scaled(self.inputs)

    @property
    def y(self) -> Shaped[Tensor, "example *output"]:
        """The targets."""
        return self.targets

    def scaled(
        self, inputs: Shaped[Tensor, "row *feature"], dtype: torch.dtype = torch.float32
    ) -> Shaped[Tensor, "row *feature"]:
        """Convert rows of `inputs` to what a network that computes in a dtype receives: `inputs * scale`.

        Whole numbers without a scale (int32 and int64) stay as they are, as an embedding expects them.

        Raises:
            InputError: If the inputs are no tensor of real numbers, or dtype is none.

        Example:
            >>> import torch
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
        for name in ("train", "test"):
            if not isinstance(getattr(self, name), Examples):
                raise InputError(name, getattr(self, name), "expected Examples(inputs, targets)")
        for name in ("name", "source"):
            if not isinstance(getattr(self, name), str):
                raise InputError(name, getattr(self, name), "expected text")
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
        A data set of the same name; its source says which part it is.

    Raises:
        InputError: If data is no data set, or has fewer examples.

    Example:
        >>> from bathymetry.data import function
        >>> len(subset(function("cos"), train=10).train)
        10
    """
    if not isinstance(data, Data):
        raise InputError("data", data, "expected a data set, such as bm.load returns")
    whole_number("seed", seed, 0)
    chosen = _drawn(data.train, train, seed, 0, "train_examples")
    judged = _drawn(data.test, test, seed, 1, "test_examples")
    if chosen is data.train and judged is data.test:
        return data
    part = f"{len(chosen):,} training and {len(judged):,} test examples, drawn by seed {seed}"
    return replace(data, train=chosen, test=judged, source=f"{data.source}{PART_OF}{part}")


def _drawn(examples: Examples, count: int | None, seed: int, index: int, field: str) -> Examples:
    if count is None or whole_number(field, count, 1, len(examples)) == len(examples):
        return examples
    order = torch.randperm(len(examples), generator=stream(seed, -1, "data draw", index))[:count]
    return Examples(examples.inputs[order], examples.targets[order], examples.scale)
