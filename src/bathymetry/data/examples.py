"""What a network learns from: examples in memory, once for training and once for testing."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float, Shaped
from torch import Tensor, float32

PART_OF = "; of these "  # in a source's words, what stands before which part of it was taken

from bathymetry.core.showing import short


@dataclass(frozen=True, repr=False)
class Examples:
    """A set of examples, kept as it was stored; pixels stay bytes until a batch is gathered.

    Args:
        inputs: One row an example, float32, or uint8 for pixels.
        targets: float32 values, or int64 class numbers.
        scale: What a network sees is `inputs * scale`; 1/255 for pixels.
    """

    inputs: Shaped[Tensor, "example *feature"]
    targets: Shaped[Tensor, "example *output"]
    scale: float = 1.0

    def __repr__(self) -> str:
        scaled = "" if self.scale == 1.0 else f" × {short(self.scale)}"
        kinds = [str(one.dtype).removeprefix("torch.") for one in (self.inputs, self.targets)]
        seen = f"inputs {tuple(self.inputs.shape[1:])} {kinds[0]}{scaled}"
        return f"Examples({len(self):,}: {seen}, targets {tuple(self.targets.shape[1:])} {kinds[1]})"

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def x(self) -> Float[Tensor, "example *feature"]:
        """The inputs as a network sees them, float32."""
        return self.inputs.to(float32) * self.scale

    @property
    def y(self) -> Shaped[Tensor, "example *output"]:
        """The targets."""
        return self.targets


@dataclass(frozen=True, repr=False)
class Data:
    """A data set under its name, with the digest by which stored results know it again.

    Args:
        name: The name by which it was asked for.
        train: The examples to learn from.
        test: The examples to be judged by.
        digest: BLAKE2b of all bytes, in hexadecimal.
        source: Where it came from, in words.
        classes: How many classes there are; None where the targets are values.
        image_shape: The shape of one input where it is an image that was flattened.
    """

    name: str
    train: Examples
    test: Examples
    digest: str
    source: str
    classes: int | None = None
    image_shape: tuple[int, ...] | None = None

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
    def x_train(self) -> Float[Tensor, "example *feature"]:
        """Training inputs as a network sees them."""
        return self.train.x

    @property
    def y_train(self) -> Shaped[Tensor, "example *output"]:
        """Training targets."""
        return self.train.y

    @property
    def x_test(self) -> Float[Tensor, "example *feature"]:
        """Test inputs as a network sees them."""
        return self.test.x

    @property
    def y_test(self) -> Shaped[Tensor, "example *output"]:
        """Test targets."""
        return self.test.y
