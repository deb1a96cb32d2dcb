"""What is said while a run is under way."""


class Progress:
    """Hears how a run goes, and says nothing of it; inherit from it to say something."""

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
