"""Names for the networks of a study, and widths that keep their number of parameters for inputs of another size."""

from collections.abc import Sequence


def network_names(
    networks: Sequence[Sequence[int]], usual: Sequence[Sequence[int]], words: Sequence[str]
) -> tuple[str, ...]:
    """Name networks by words where they are the usual ones, by their hidden widths otherwise.

    Args:
        networks: Hidden widths of each.
        usual: Hidden widths of those that have a word.
        words: Their words.

    Returns:
        One name a network.

    Example:
        >>> network_names([(250,), (8, 8)], usual=[(250,)], words=["shallow"])
        ('shallow', '8-8')
    """
    known = {tuple(widths): word for widths, word in zip(usual, words, strict=True)}
    return tuple(known.get(tuple(widths), "-".join(map(str, widths))) for widths in networks)
