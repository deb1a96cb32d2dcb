"""How each kind of claim is decided, in words for a reader."""

from collections.abc import Mapping

from bathymetry.statistics.verdict import Kind, Verdict

RULES: Mapping[Kind, str] = {
    "share": "It is supported when the 95 % interval of the share of members lies above one half, contradicted when it "
    "lies below: it speaks of most members, not of each.",
    "order": "It is supported when Mann and Whitney's two-sided test at 5 % finds the first before the second, "
    "contradicted when it finds the opposite.",
    "slope": "It is supported when the 95 % interval (Student's t for a mean of one number a member, the bootstrap for "
    "a correlation over members) lies wholly on the side that the claim expects, contradicted when it lies wholly "
    "on the other.",
    "region": "It is supported when the 95 % t interval of the mean lies wholly inside the region, contradicted when "
    "it lies wholly outside.",
    "best": "It is supported when one of those named is ahead of each other in two-sided tests, at 5 % shared out "
    "among those named, contradicted when another is ahead of them all.",
    "exists": "One case in which every member meets the condition decides it.",
}
SEVERAL = (
    "A claim of several parts is supported if each part is and contradicted if any is; its p is the largest of the "
    "parts', or where it is contradicted the smallest of those that contradict it times the number of parts."
)


def decided_by(verdict: Verdict) -> tuple[str, ...]:
    """Say by what rule a claim was decided: what would have supported it, what contradicted it.

    Args:
        verdict: The verdict.

    Returns:
        The rule of its parts; where they were decided by several, each with the names of its parts; where there are no
        parts, the rule of the claim's kind.

    Example:
        >>> from bathymetry.statistics.verdict import Part
        >>> rose = Part("supported", 1.0, (0.5, 1.5), 0.01, 9, "", {"of": "up"}, rule="Up!")
        >>> fell = Part("supported", -1.0, (-1.5, -0.5), 0.01, 9, "", {"of": "down"}, rule="Down!")
        >>> decided_by(Verdict("slope", "supported", (rose, fell), 9, 0.01))
        ('For up: up!', 'For down: down!')
    """
    named: dict[str, list[str]] = {}
    for part in verdict.parts:
        named.setdefault(part.rule or RULES.get(verdict.kind, ""), []).append(", ".join(part.coordinates.values()))
    if len(named) < 2:
        return tuple(named) or (RULES.get(verdict.kind, ""),)
    return tuple(f"For {'; '.join(names)}: {rule[:1].lower()}{rule[1:]}" for rule, names in named.items())
