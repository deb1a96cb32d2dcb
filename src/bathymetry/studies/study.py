"""A study: one question, and the functions that lead from its settings to its answer.

Everything below is plain functions of what stands above it, so that results which are stored can be shown and judged
again without training: a plan is a function of settings, figures and verdicts are functions of results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bathymetry.studies.claim import Claim
from bathymetry.studies.plan import Plan
from bathymetry.studies.settings import StudySettings

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.charts import Figure


def as_recorded(settings: Any, results: "xr.DataTree") -> "xr.DataTree":
    """Leave results as the ensembles recorded them.

    Args:
        settings: The study's settings.
        results: The records.

    Returns:
        The same.
    """
    del settings
    return results


def nothing(results: "xr.DataTree") -> Sequence[str]:
    """Say nothing.

    Args:
        results: The study's results.

    Returns:
        No sentence.
    """
    del results
    return ()


def later(module: str, name: str) -> Callable[..., Any]:
    """Name a function whose file is read when it is called, because it needs what takes long to load.

    Args:
        module: The module that holds it.
        name: Its name there.

    Returns:
        A function that passes everything on to it.

    Example:
        >>> later("math", "hypot")(3.0, 4.0)
        5.0
    """

    def call(*arguments: Any) -> Any:
        return getattr(import_module(module), name)(*arguments)

    return call


@dataclass(frozen=True)
class Study:
    """One question, with all that answers it."""

    name: str  # "depth-function": on the command line, in folders, and before the letters of its claims
    question: str
    about: str  # what is done and measured, for a reader of the page
    reading: str  # how to read its charts
    shows: tuple[str, ...]  # its figures, one line each, for `bathymetry show`
    settings: type[StudySettings]
    plan: Callable[[Any], Plan]  # settings → what to train
    figures: "Callable[[xr.DataTree], Sequence[Figure]]"
    claims: tuple[Claim, ...] = ()
    derive: "Callable[[Any, xr.DataTree], xr.DataTree]" = as_recorded  # settings, records → results
    seen: "Callable[[xr.DataTree], Sequence[str]]" = nothing  # what was seen, in plain words with numbers
    part: str = "Studies of your own"
    protocol_data: str | None = None  # the data that claims with absolute numbers are about; None: no data set
