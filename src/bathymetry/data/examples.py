"""What a network learns from: examples in memory, once for training and once for testing."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real

import torch
from jaxtyping import Shaped
from torch import Tensor, dtype, float32, int32, int64
from torch import dtype as torch_dtype

from bathymetry.core.errors import InputError, check_dense, whole_number
from bathymetry.core.showing import short
from bathymetry.core.streams import stream

PART_OF = "; of these "  # in a source's words, what stands before which part of it was taken


@dataclass(frozen=True, repr=False)
class Examples:
    """A set of examples, kept as it was stored; pixels stay bytes until a batch is gathered.

    Args:
        inputs: One row an example: float32, uint8 for pixels, or int64 for numbers that stay whole, such as words'.
        targets: float32 values, or int64 class numbers.
        scale: What a network sees is `inputs * scale`; 1/255 for pixels.
    """

    inputs: Shaped[Tensor, "example *feature"]
    targets: Shaped[Tensor, "example *output"]
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, tensor in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(tensor, Tensor):
                raise InputError(name, f"a {type(tensor).__name__}", "give a tensor, such as torch.as_tensor makes")
            check_dense(name, tensor)
            if tensor.ndim == 0:
                raise InputError(name, "a single number", "give real numbers, a row for each example")
        if isinstance(self.scale, bool) or not isinstance(self.scale, Real) or not 0 < abs(self.scale) < math.inf:
            raise InputError("scale", self.scale, "expected a finite number other than 0, such as 1/255 for pixels")
        if len(self.inputs) != len(self.targets):
            raise InputError("targets", f"{len(self.targets)} rows", f"give one for each of the {len(self)} inputs")

    def __repr__(self) -> str:
        scaled = "" if self.scale == 1.0 else f" × {short(self.scale)}"
        kinds = [str(one.dtype).removeprefix("torch.") for one in (self.inputs, self.targets)]
        seen = f"inputs {tuple(self.inputs.shape[1:])} {kinds[0]}{scaled}"
        return f"Examples({len(self):,}: {seen}, targets {tuple(self.targets.shape[1:])} {kinds[1]})"

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def x(self) -> Shaped[Tensor, "example *feature"]:
        """The inputs as a network sees them: float32, or whole numbers as they are."""
        return self.seen(self.inputs)

    @property
    def y(self) -> Shaped[Tensor, "example *output"]:
        """The targets."""
        return self.targets

    def seen(self, inputs: Shaped[Tensor, "row *feature"], dtype: dtype = float32) -> Shaped[Tensor, "row *feature"]:
        """Turn some of the inputs into what a network sees.

        Args:
            inputs: Rows of `inputs`.
            dtype: What the network computes in.

        Returns:
            `inputs * scale`; but whole numbers that are no pixels and have no scale stay whole, as an embedding wants.

        Raises:
            InputError: If they are no tensor of real numbers, or it is no dtype.

        Example:
            >>> import torch
            >>> Examples(torch.tensor([[7, 2]]), torch.tensor([0])).x
            tensor([[7, 2]])
        """
        if not isinstance(inputs, Tensor) or inputs.is_complex():
            raise InputError("inputs", inputs, "expected a tensor of real numbers")
        if not isinstance(dtype, torch_dtype):
            raise InputError("dtype", dtype, "expected one of PyTorch's, such as torch.float32")
        if self.scale == 1.0 and inputs.dtype in (int32, int64):
            return inputs
        converted = inputs.to(dtype)
        if self.scale == 1.0:
            return converted
        return converted * self.scale if converted is inputs else converted.mul_(self.scale)


@dataclass(frozen=True, repr=False)
class Data:
    """A data set under its name, with the digest by which stored results know it again.

    Args:
        name: The name by which it was asked for.
        train: The examples to learn from.
        test: The examples to be judged by.
        digest: BLAKE2b of all bytes, in hexadecimal; taken from the examples where it is empty.
        source: Where it came from, in words.
        classes: How many classes there are; None where the targets are values.
        image_shape: The shape of one input where it is an image that was flattened.
    """

    name: str
    train: Examples
    test: Examples
    digest: str = ""
    source: str = "given as tensors"
    classes: int | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            if not isinstance(getattr(self, name), Examples):
                raise InputError(name, getattr(self, name), "expected Examples(inputs, targets)")
        for name in ("name", "digest", "source"):
            if not isinstance(getattr(self, name), str):
                raise InputError(name, getattr(self, name), "expected text")
        if self.classes is not None:
            whole_number("classes", self.classes, 1)
        shape = self.image_shape
        if shape is not None and not (isinstance(shape, tuple) and all(isinstance(side, Integral) for side in shape)):
            raise InputError("image_shape", shape, "expected a tuple of whole numbers, such as (28, 28), or None")
        if not self.digest:
            from bathymetry.data.examples import digest  # which is of examples

            object.__setattr__(self, "digest", digest(self.train, self.test))

    def __repr__(self) -> str:
        sizes = f"{len(self.train):,} training and {len(self.test):,} test examples"
        shape = tuple(self.train.inputs.shape[1:])
        answers = f"{self.classes} classes" if self.classes else f"targets {tuple(self.train.targets.shape[1:])}"
        return f"Data({self.name}: {sizes}, inputs {shape}, {answers}; {self.source})"

    @property
    def origin(self) -> str:
        """Source and digest, in words."""
        return f"{self.source}, digest {self.digest}"

    @property
    def x_train(self) -> Shaped[Tensor, "example *feature"]:
        """Training inputs as a network sees them."""
        return self.train.x

    @property
    def y_train(self) -> Shaped[Tensor, "example *output"]:
        """Training targets."""
        return self.train.y

    @property
    def x_test(self) -> Shaped[Tensor, "example *feature"]:
        """Test inputs as a network sees them."""
        return self.test.x

    @property
    def y_test(self) -> Shaped[Tensor, "example *output"]:
        """Test targets."""
        return self.test.y


def digest(train: Examples, test: Examples) -> str:
    """Take the digest of all that a data set holds.

    Args:
        train: Its training examples.
        test: Its test examples.

    Returns:
        BLAKE2b over shapes, dtypes, scale and bytes, 32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    for examples in (train, test):
        for tensor in (examples.inputs, examples.targets):
            state.update(f"{tensor.dtype}{tuple(tensor.shape)}{examples.scale!r}".encode())
            state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


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
