"""The rule for a claim that something can, or can't, be: one cell of a grid in which it is so in every member decides.

There is no test and no p value: six of six members is Clopper and Pearson's bar for "more often than not" (1934,
Biometrika 26:404), and one such cell is an example that stands, however many cells were tried.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool

from bathymetry.statistics.arguments import booleans, coordinates_of, groups, one_of, text
from bathymetry.statistics.verdict import MINIMUM_MEMBERS, Direction, Part
from bathymetry.statistics.wording import count_of_members, too_few

_OPPOSITE: dict[str, Literal["supported", "contradicted"]] = {"supported": "contradicted", "contradicted": "supported"}
_DIRECTIONS: dict[str, Direction] = {"supported": "for", "contradicted": "against", "undecided": "neither"}


def exists(
    cells: Mapping[str, Bool[np.ndarray, " _"]],
    *,
    decides: Literal["supported", "contradicted"],
    signs: Mapping[str, Bool[np.ndarray, " _"]] | None = None,
    condition: str = "meet the condition",
    sign: str = "shows a sign of it",
    cell: str = "cell",
    coordinates: Mapping[str, str] | None = None,
) -> Part:
    """Judge by a single cell in which every member, six or more, meets a condition.

    Args:
        cells: Whether each member meets it, by the cell's name. A diverged member does not.
        decides: What such a cell makes of the claim; it alone decides the direction.
        signs: A weaker condition. If no member of any cell meets it, in cells of six or more, the claim is decided the
            other way; without it that can't happen.
        condition: The condition as the end of a sentence, "6 of 6 members …".
        sign: The weaker condition, "no member …".
        cell: What a cell is, in the singular.
        coordinates: What the part is about.

    Returns:
        The part; its estimate is the share of members in the cell where it is largest, without interval or p.

    Example:
        >>> grid = {"500 images": np.array([True] * 6), "4,000 images": np.array([False] * 6)}
        >>> part = exists(grid, decides="contradicted", condition="reach 99 %")
        >>> part.decision, part.summary
        ('contradicted', '500 images: 6 of 6 members reach 99 %')
    """
    one_of("decides", decides, ("supported", "contradicted"))
    condition, sign, cell = text("condition", condition), text("sign", sign), text("cell", cell)
    cells = {name: booleans(f"cells[{name}]", values) for name, values in groups("cells", cells).items()}
    if signs is not None:
        signs = {name: booleans(f"signs[{name}]", values) for name, values in groups("signs", signs).items()}
    rule = (
        f"{decides.capitalize()} by one {cell} in which {MINIMUM_MEMBERS} or more members, and all of them, {condition}"
    )
    if signs is not None:
        rule += f"; {_OPPOSITE[decides]} if no member of any {sign}"
    filled = {each: values for each, values in cells.items() if len(values)}
    if not filled:
        nothing = "no members" if cells else f"no {cell} was run"
        part = _part("undecided", float("nan"), 0, nothing, too_few(0) if cells else nothing)
    else:
        part = _judged(filled, decides, cells, signs or {}, condition, sign)
    return replace(part, coordinates=coordinates_of(coordinates), rule=f"{rule}.")


def _judged(
    filled: Mapping[str, Bool[np.ndarray, " _"]],
    decides: Literal["supported", "contradicted"],
    cells: Mapping[str, Bool[np.ndarray, " _"]],
    signs: Mapping[str, Bool[np.ndarray, " _"]],
    condition: str,
    sign: str,
) -> Part:
    # The largest share, and of equal shares the one with the most members: so a cell that decides comes first.
    most = max(filled, key=lambda each: (filled[each].mean(), len(filled[each])))
    count, members = int(filled[most].sum()), len(filled[most])
    summary = f"{most}: {count} of {count_of_members(members)} {condition}"
    if count == members >= MINIMUM_MEMBERS:
        return _part(decides, 1.0, members, summary)
    if signs and not any(values.any() for values in signs.values()):
        fewest = min(len(values) for values in signs.values())
        total = sum(len(values) for values in signs.values())
        words = f"not one of {count_of_members(total)} in {len(signs)} cells {sign}"
        if fewest >= MINIMUM_MEMBERS and signs.keys() >= cells.keys() and not count:
            return _part(_OPPOSITE[decides], count / members, fewest, words)
    reason = too_few(members) if count == members else "no cell in which every member does"
    return _part("undecided", count / members, members, summary, reason)


def _part(
    decision: Literal["supported", "contradicted", "undecided"],
    estimate: float,
    members: int,
    summary: str,
    reason: str = "",
) -> Part:
    nothing = (float("nan"), float("nan"))
    return Part(decision, estimate, nothing, None, members, summary, {}, reason, direction=_DIRECTIONS[decision])
