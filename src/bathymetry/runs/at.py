"""Which number of a run's history is compared: the last, the best, that at a step, or a mean over the end."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.runs.run import History

_ROUNDING = 1e-12  # so that a step on the edge of a window counts, however 70 % is rounded
_EXPECTED = "expected last, best, step:N or mean:last-10%"


@dataclass(frozen=True)
class At:
    """A point of a history."""

    kind: Literal["last", "best", "step", "mean"]
    number: float = 0.0  # the step, or the share of the steps that the mean is over

    @property
    def words(self) -> str:
        """The point as the end of a sentence: "accuracy at step 5,000"."""
        if self.kind == "step":
            return f"at step {self.number:,.12g}"
        if self.kind == "mean":
            return f"mean over the last {100 * self.number:g} % of the steps"
        return "at the last step" if self.kind == "last" else "at its best step"

    def __str__(self) -> str:
        if self.kind == "step":
            return f"step:{self.number:.12g}"
        return f"mean:last-{100 * self.number:g}%" if self.kind == "mean" else self.kind


def read_at(text: object) -> At:
    """Read a point from its words.

    >>> read_at("mean:last-10%"), read_at("step:500").words
    (At(kind='mean', number=0.1), 'at step 500')
    """
    if isinstance(text, At):
        return text
    if text == "last":
        return At("last")
    if text == "best":
        return At("best")
    if found := re.fullmatch(r"step:(\d+(?:_\d+)*(?:\.\d+)?(?:e\d{1,3})?)", str(text)):
        return At("step", float(found[1]))
    if (found := re.fullmatch(r"mean:last-(\d+(?:\.\d+)?)%", str(text))) and 0 < float(found[1]) <= 100:
        return At("mean", float(found[1]) / 100)
    raise InputError("at", text, _EXPECTED)


def value_at(logged: History, at: At, *, higher_is_better: bool) -> float | None:
    """Take a number from a history; None where it does not reach the step, NaN where the run diverged.

    At a step that was not logged it is the value logged last before it, as long as the run reaches that step. NaN and
    infinity within a mean make it NaN; the best is that of the finite values. A mean over the last 10 % is over the
    steps from last − 0.1 (last − first) on, that one included.
    """
    step, value = logged.step, logged.value
    if not len(step):
        return None
    if at.kind == "step":
        place = int(np.searchsorted(step, at.number, side="right")) - 1
        return float(value[place]) if place >= 0 and step[-1] >= at.number else None
    if at.kind == "mean":
        width = step[-1] - step[0]
        window = value[step >= step[-1] - (at.number + _ROUNDING) * width]
        with np.errstate(over="ignore"):
            mean = float(window.mean()) if np.isfinite(window).all() else float("nan")
        return mean if np.isfinite(mean) else float((window / len(window)).sum())
    if at.kind == "best":
        finite = value[np.isfinite(value)]
        if not len(finite):
            return float("nan")
        return float(finite.max() if higher_is_better else finite.min())
    return float(value[-1])
