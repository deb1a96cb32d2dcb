"""The classes that a study's networks learn to tell apart."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bathymetry import data
from bathymetry.core.errors import InputError

if TYPE_CHECKING:
    from bathymetry.data import Data


class Asking(Protocol):
    """Settings that ask for data with classes."""

    data: str
    train_examples: int | None
    test_examples: int | None
    seed: int

    @property
    def batch_size(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Classes:
    """Examples with classes, and their sizes."""

    examples: "Data"
    inputs: int
    classes: int


def classes_of(settings: Asking) -> Classes:
    """Load the data that settings ask for.

    Args:
        settings: The study's settings.

    Returns:
        The examples.

    Raises:
        InputError: If the data have no classes, or fewer examples than a batch.
    """
    whole = data.load(settings.data)
    if whole.classes is None:
        raise InputError("data", settings.data, "its targets are values; give data with classes")
    drawn = data.subset(
        whole,
        min(settings.train_examples or len(whole.train), len(whole.train)),
        min(settings.test_examples or len(whole.test), len(whole.test)),
        settings.seed,
    )
    if settings.batch_size > len(drawn.train):
        remedy = f"give at most the {len(drawn.train)} examples there are"
        raise InputError("batch_size", settings.batch_size, remedy)
    return Classes(drawn, drawn.train.inputs.shape[1], whole.classes)
