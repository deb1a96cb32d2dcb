"""What chance can do on a page of many claims, in words whose numbers come from the claims themselves."""

from collections.abc import Sequence

from bathymetry.report.content import ClaimRow


def chance(claims: Sequence[ClaimRow]) -> tuple[str, ...]:
    """Say what a verdict is worth, alone and among the others.

    Args:
        claims: The claims of a page.

    Returns:
        Paragraphs: how parts make a verdict, and what adjusting for many claims does to it.
    """
    return (_PARTS, _many(claims)) if claims else ()


_PARTS = (
    "A claim has one or more parts: one for each network, function or quantity that it is about. Each part is a "
    "two-sided test at 5 % over members, so if chance alone decided, about one part in twenty would come out one "
    "way or the other. A claim is supported if every part is, and its p is then the largest of theirs; it is "
    "contradicted if one part is at 5 % divided by the number of parts, and its p is then that part's times their "
    "number. A claim that is undecided has the smallest p of a part that points against it, times the number of "
    "parts, or if none does, the largest of the parts'."
)


def _many(claims: Sequence[ClaimRow]) -> str:
    tested = [claim for claim in claims if claim.verdict.p is not None]
    if len(tested) < 2:
        return "Only one claim on this page has a p, so there is nothing to adjust for." if tested else ""
    light = sum(claim.light for claim in claims)
    words = (
        f"{len(tested)} claims on this page have a p, and each is tested at 5 %. Among so many, chance alone gives "
        "some verdicts, so each p is also adjusted for their number by Holm's method: on 19 pages of 20 no verdict "
        "with an adjusted p below 5 % is false. Adjusting changes no verdict, only its mark: one whose adjusted p is "
        f"above 5 % has a lighter, broken ring. {light or 'None'} of them {'has' if light < 2 else 'have'} one."
    )
    return words + _too_few_for_a_share(claims)


def _too_few_for_a_share(claims: Sequence[ClaimRow]) -> str:
    # Where even all members are no more than chance could do, a reader should not look for the fault in the data.
    clearest = [
        claim
        for claim in claims
        if claim.verdict.kind == "share" and claim.light and claim.verdict.p == 2.0 ** (1 - claim.verdict.members)
    ]
    if not clearest:
        return ""
    members = min(claim.verdict.members for claim in clearest)
    return (
        f" With {members} members even {members} of {members} have a p of {2.0 ** (1 - members):.2g}, which is too "
        "large for the full ring among so many claims; a run with more members can have it."
    )
