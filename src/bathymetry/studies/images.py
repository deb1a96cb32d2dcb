"""The classes that a study's networks learn to tell apart."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from bathymetry import data
from bathymetry.core.errors import InputError
from bathymetry.studies.settings import StudySettings

if TYPE_CHECKING:
    from bathymetry.data import Data


class ImageSettings(StudySettings):
    """What every study of images lets its user decide."""

    data: str = Field("auto", description="auto, mnist, fashion-mnist, kmnist, strokes, digits, or a path")
    train_examples: PositiveInt | None = Field(None, description="at most so many training examples, drawn by seed")
    test_examples: PositiveInt | None = Field(None, description="at most so many test examples, drawn by seed")


@dataclass(frozen=True)
class Classes:
    """Examples with classes, and their sizes."""

    examples: "Data"
    inputs: int
    classes: int


def classes_of(settings: ImageSettings, batch_size: int) -> Classes:
    """Load the data that settings ask for.

    Args:
        settings: The study's settings.
        batch_size: The largest batch that will be asked of them.

    Returns:
        The examples.

    Raises:
        InputError: If the data have no classes, or fewer examples than a batch.
    """
    whole = data.load(settings.data)
    if whole.classes is None:
        raise InputError("data", settings.data, "its targets are values; store class numbers as integers")
    drawn = data.subset(
        whole,
        min(settings.train_examples or len(whole.train), len(whole.train)),
        min(settings.test_examples or len(whole.test), len(whole.test)),
        settings.seed,
    )
    if batch_size > len(drawn.train):
        remedy = f"give at most the {len(drawn.train)} examples there are"
        raise InputError("batch_size", batch_size, remedy)
    return Classes(drawn, drawn.train.inputs.shape[1], whole.classes)
