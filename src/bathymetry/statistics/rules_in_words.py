"""How each kind of claim is decided, in words for a reader."""

from collections.abc import Mapping

from bathymetry.statistics.verdict import Kind

RULES: Mapping[Kind, str] = {
    "share": "It is supported when the 95 % interval of the share of members lies above one half, contradicted when it "
    "lies below: it speaks of most members, not of each.",
    "order": "It is supported when Mann and Whitney's two-sided test at 5 % finds the first before the second, "
    "contradicted when it finds the opposite.",
    "slope": "It is supported when the 95 % t interval of the mean over members lies above zero, contradicted when it "
    "lies below.",
    "region": "It is supported when the 95 % t interval of the mean lies wholly inside the region, contradicted when "
    "it lies wholly outside.",
    "best": "It is supported when it is ahead of each other in a two-sided test at 5 %, contradicted when another is "
    "ahead of it.",
    "exists": "One case in which every member meets the condition decides it.",
}
SEVERAL = (
    "A claim of several parts is supported if each part is and contradicted if any is; its p is the largest of the "
    "parts', or where it is contradicted the smallest of those that contradict it times the number of parts."
)
