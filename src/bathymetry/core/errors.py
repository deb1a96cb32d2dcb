"""What Bathymetry says when it can't go on: one sentence with the field, the value and the remedy."""

from os import PathLike

from bathymetry.core.showing import short

_LETTERS = 300  # of a value that is shown as Python shows it


def one_line(text: str) -> str:
    r"""Write out line breaks and control characters, so that a terminal shows them and does not obey them.

    Args:
        text: Any text.

    Returns:
        The text in one line of printable characters.

    Example:
        >>> print(one_line("a\nb"))
        a\nb
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class BathymetryError(Exception):
    """Anything that Bathymetry refuses or can't do; its text is one sentence for the person at the keyboard."""

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


class InputError(BathymetryError, ValueError):
    """A setting or an input that can't be right.

    Args:
        field: What was given, by the name under which it was given.
        value: What it was.
        remedy: What would be right, as the rest of a sentence.

    Example:
        >>> print(InputError("members", 0, "give at least 1"))
        members = 0: give at least 1.
    """

    def __init__(self, field: str, value: object, remedy: str) -> None:
        shown = str(value) if isinstance(value, str | PathLike) and str(value).strip() else repr(value)
        if hasattr(value, "shape") or len(shown) > _LETTERS:
            shown = short(value)
        super().__init__(f"{field} = {shown}: {remedy.rstrip('.')}.")
        self.field = field
        self.value = value
        self.remedy = remedy


class StorageError(BathymetryError):
    """A stored file that can't be read or understood, or a place where nothing can be stored."""


class DamagedError(StorageError):
    """A stored file that could be read, and whose content is not what was stored."""


def first_line(error: BaseException) -> str:
    r"""Say somebody else's error in one line.

    Args:
        error: The error.

    Returns:
        The first line of its text, or its kind where it has none.

    Example:
        >>> first_line(ValueError("no such shape\nand a trace")), first_line(KeyError())
        ('no such shape', 'KeyError')
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
