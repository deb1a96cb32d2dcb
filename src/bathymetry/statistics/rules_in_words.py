"""How each kind of claim is decided, in words for a reader."""

from collections.abc import Mapping

from bathymetry.core.errors import InputError
from bathymetry.statistics.verdict import Kind, Verdict

RULES: Mapping[Kind, str] = {
    "share": "It is supported when the 95 % interval of the share of members lies above one half, contradicted when it "
    "lies below: it speaks of most members, not of each.",
    "order": "It is supported when Mann and Whitney's two-sided test at 5 % finds the first before the second, "
    "contradicted when it finds the opposite.",
    "slope": "It is supported when the 95 % t interval of the mean over members lies wholly on the side of zero that "
    "the claim expects, contradicted when it lies wholly on the other.",
    "correlation": "It is supported when the 95 % bootstrap interval of the rank correlation over members lies wholly "
    "on the side of zero that the claim expects, contradicted when it lies wholly on the other.",
    "region": "It is supported when the 95 % t interval of the mean lies wholly inside the region, contradicted when "
    "it lies wholly outside.",
    "best": "It is supported when one of those named is ahead of each other in two-sided tests, at 5 % shared out "
    "among those named, contradicted when one of the others is ahead of them all, at 5 % shared out among the others.",
    "exists": "One case in which every member meets the condition decides it.",
}
SEVERAL = (
    "A claim of several parts is supported if each part is at 5 %, its p then the largest of the parts'; it is "
    "contradicted if one part is at 5 % divided by the number of parts, its p then that part's times their number."
)


def decided_by(verdict: Verdict) -> tuple[str, ...]:
    """Say by what rule a claim was decided: what would have supported it, what contradicted it.

    Args:
        verdict: The verdict.

    Returns:
        The rule of its parts; where they were decided by several, each with the names of its parts; where there are no
        parts, the rule of the claim's kind.

    Raises:
        InputError: If it is no verdict.

    Example:
        >>> from bathymetry.statistics.verdict import Part
        >>> rose = Part("supported", 1.0, (0.5, 1.5), 0.01, 9, "", {"of": "up"}, rule="Up!")
        >>> fell = Part("supported", -1.0, (-1.5, -0.5), 0.01, 9, "", {"of": "down"}, rule="Down!")
        >>> decided_by(Verdict("slope", "supported", (rose, fell), 9, 0.01))
        ('For up: up!', 'For down: down!')
    """
    if not isinstance(verdict, Verdict):
        raise InputError("verdict", verdict, "expected a Verdict, as combine returns it")
    named: dict[str, list[str]] = {}
    for part in verdict.parts:
        named.setdefault(part.rule or RULES.get(verdict.kind, ""), []).append(", ".join(part.coordinates.values()))
    if len(named) < 2:
        return tuple(named) or (RULES.get(verdict.kind, ""),)
    return tuple(f"For {'; '.join(names)}: {rule[:1].lower()}{rule[1:]}" for rule, names in named.items())
