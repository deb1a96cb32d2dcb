"""What is said while a run is under way."""

from typing import Protocol


class Progress(Protocol):
    """Whoever wants to hear how a run goes."""

    def say(self, sentence: str) -> None:
        """Hear a sentence.

        Args:
            sentence: What a reader should know.
        """

    def begin(self, study: str, units: int, seconds: float) -> None:
        """Hear that units are about to be trained.

        Args:
            study: Which study.
            units: How many units.
            seconds: About how long they take.
        """

    def advance(self, unit: str, seconds: float) -> None:
        """Hear how far a unit has come.

        Args:
            unit: Which unit.
            seconds: How many of the estimated seconds of the study are done.
        """

    def end(self) -> None:
        """Hear that the study's units are done."""


class Silence:
    """Says nothing."""

    def say(self, sentence: str) -> None:
        """Say nothing.

        Args:
            sentence: What would be said.
        """

    def begin(self, study: str, units: int, seconds: float) -> None:
        """Say nothing.

        Args:
            study: Which study.
            units: How many units.
            seconds: About how long they take.
        """

    def advance(self, unit: str, seconds: float) -> None:
        """Say nothing.

        Args:
            unit: Which unit.
            seconds: How much is done.
        """

    def end(self) -> None:
        """Say nothing."""
