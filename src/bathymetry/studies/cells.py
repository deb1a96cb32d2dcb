"""The parts of a claim: one for each network or function that it is about, run or not."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from bathymetry import stats
from bathymetry.studies.wording import joined

if TYPE_CHECKING:
    import xarray as xr


def parts_of(
    whole: "xr.Dataset",
    named: Mapping[str, Sequence[str]],
    judge: "Callable[[xr.Dataset, dict[str, str]], stats.Part]",
    *,
    own: bool,
) -> "list[stats.Part]":
    """Make one part for each cell that a claim is about.

    Args:
        whole: The results.
        named: For each axis (function, network) the names that the protocol's claim is about.
        judge: Makes the part of one cell.
        own: Whether the claim is asked of the run's own networks or functions too: if any on an axis is none of those
            named, the claim is about those that were run.

    Returns:
        The parts; of cells that are named and were not run, parts that are not tested.
    """
    axes: dict[str, list[str]] = {}
    for axis, names in named.items():
        ran = [str(one) for one in whole[axis].values]
        axes[axis] = ran if own and not set(ran) <= set(names) else list(names)
    parts = []
    for names in product(*axes.values()):
        at = dict(zip(axes, names, strict=True))
        present = all(name in whole[axis].values for axis, name in at.items())
        parts.append(judge(whole.sel(at), at) if present else stats.not_run("was not run", at))
    if any(part.decision != "not tested" for part in parts):
        return parts
    missing = [name for axis, names in axes.items() for name in names if name not in whole[axis].values]
    return [missing_part(missing)]


def missing_part(names: Sequence[str]) -> "stats.Part":
    """Say that a run has nothing of what a claim is about.

    Args:
        names: What it lacks.

    Returns:
        A part that is not tested.
    """
    return stats.not_run(f"this run did not include {joined(list(names))}", {})


def without_diverged(whole: "xr.Dataset") -> "xr.Dataset":
    """Take the numbers of members that diverged at any time: they count as failures.

    Args:
        whole: The results.

    Returns:
        The same with NaN for these members.
    """
    if "diverged" not in whole:
        return whole
    sound = ~whole["diverged"].fillna(False).astype(bool)
    masked: dict[Any, Any] = {
        name: values.where(sound)
        for name, values in whole.data_vars.items()
        if values.dtype.kind == "f" and set(sound.dims) <= set(values.dims)
    }
    return whole.assign(masked)
