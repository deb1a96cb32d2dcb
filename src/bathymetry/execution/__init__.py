"""From settings to stored results: what is there is reused, what is missing is trained."""


class Progress:
    """No-op progress callback; subclass it to report progress."""

    def say(self, sentence: str) -> None:
        """Called with a sentence that a reader should know."""

    def begin(self, study: str, chunks: int, seconds: float) -> None:
        """Called before chunks are trained, with their number and about how long they take."""

    def advance(self, label: str, seconds: float) -> None:
        """Called with how many chunks have ended, and how many of the study's estimated seconds are done."""

    def end(self) -> None:
        """Called when the study's chunks are trained."""
