"""Numbers, lists, settings and networks in sentences."""

import math
from collections.abc import Sequence
from typing import Any

from bathymetry.core.showing import joined as joined
from bathymetry.models.mlp import parameter_count

_ALIKE = 1.1  # the largest ratio of parameter counts that are called equal


def number(value: float, digits: int = 2) -> str:
    """Write a number as prose wants it: plain decimals in the middle range, powers of ten outside it."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    exponent = math.floor(math.log10(size))
    if exponent < -4 or exponent > 6:
        mantissa = f"{size / 10.0**exponent:.{digits - 1}f}"
        if mantissa.startswith("10"):
            mantissa, exponent = f"{1:.{digits - 1}f}", exponent + 1
        return f"{sign}{mantissa} × 10{str(exponent).translate(_RAISED)}"
    return f"{sign}{size:,.{max(digits - 1 - exponent, 0)}f}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def field_name(field: str) -> str:
    """Write the name of a setting as words: "training examples"."""
    return field.replace("_", " ").replace("train ", "training ")


def shown(value: Any) -> str:
    """Write a setting's value for a reader: tuples as lists, thousands separated, "all" for no limit."""
    if isinstance(value, tuple):
        return ", ".join("-".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    if value is None:
        return "all"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def setting(field: str, value: object) -> str:
    """Write a setting with its value, as "120 epochs" or "learning rate 0.01"."""
    name = field_name(field)
    if value is None:
        return f"all {name}"
    if isinstance(value, tuple) and len(value) > 4:
        return f"{len(value)} {name}"
    words = shown(value).replace(", ", "/") if isinstance(value, tuple) else shown(value)
    return f"{words} {name}" if name.endswith("s") and not isinstance(value, tuple) else f"{name} {words}"


def network_name(hidden: Sequence[int]) -> str:
    """Name a network by its hidden widths: "800-400"."""
    return "-".join(map(str, hidden))


def network_names(
    networks: Sequence[Sequence[int]], usual: Sequence[Sequence[int]], words: Sequence[str]
) -> tuple[str, ...]:
    """Name networks by words where they are the usual ones, by their hidden widths otherwise."""
    known = {tuple(widths): word for widths, word in zip(usual, words, strict=True)}
    return tuple(known.get(tuple(widths), network_name(widths)) for widths in networks)


def unequal_parameters(networks: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Say so where networks that are compared have unequal numbers of parameters."""
    counts = [parameter_count(widths) for widths in networks]
    low, high = min(counts), max(counts)
    if high <= _ALIKE * low:
        return ()
    return (f"These networks have {low:,} to {high:,} parameters, so depth is not all that differs between them.",)
