"""Names for the networks of a study, and widths that keep their number of parameters for inputs of another size."""

from collections.abc import Sequence

from bathymetry import models

_ALIKE = 1.1  # the largest ratio of parameter counts that are called equal


def network_name(hidden: Sequence[int]) -> str:
    """Name a network by its hidden widths.

    Args:
        hidden: Widths.

    Returns:
        Widths with hyphens between them.

    Example:
        >>> network_name([800, 400])
        '800-400'
    """
    return "-".join(map(str, hidden))


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
    return tuple(known.get(tuple(widths), network_name(widths)) for widths in networks)


def unequal_parameters(networks: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Say so where networks that are compared have unequal numbers of parameters.

    Args:
        networks: All widths of each.

    Returns:
        One sentence, or none.

    Example:
        >>> unequal_parameters([(1, 250, 1), (1, 10, 10, 1)])
        ('These networks have 141 to 751 parameters, so depth is not all that differs between them.',)
    """
    counts = [models.parameter_count(widths) for widths in networks]
    if max(counts) <= _ALIKE * min(counts):
        return ()
    low, high = min(counts), max(counts)
    return (f"These networks have {low:,} to {high:,} parameters, so depth is not all that differs between them.",)
