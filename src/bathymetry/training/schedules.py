"""Schedules: what becomes of the learning rate as training goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from numbers import Real

from bathymetry.core.errors import InputError


@dataclass(frozen=True)
class Constant:
    """The learning rate stays as it is."""

    def factor(self, progress: float) -> float:  # noqa: ARG002 - every schedule is asked the same question
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            1.
        """
        return 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the full rate to a last share of it; Loshchilov and Hutter 2017, arXiv:1608.03983."""

    last: float = 0.0

    def __post_init__(self) -> None:
        if not _is_number(self.last) or not 0 <= self.last <= 1:
            raise InputError("last", self.last, "give a share of the learning rate, from 0 to 1")

    def factor(self, progress: float) -> float:
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            last + (1 − last)(1 + cos(π · progress)) / 2.

        Example:
            >>> Cosine(last=0.5).factor(0.0), Cosine(last=0.5).factor(1.0)
            (1.0, 0.5)
        """
        return self.last + (1 - self.last) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by `by` as training passes each of the shares `at`."""

    at: tuple[float, ...] = (0.5, 0.75)
    by: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.at, Sequence) or any(not _is_number(share) or not 0 <= share <= 1 for share in self.at):
            raise InputError("at", self.at, "give shares of the training, from 0 to 1")
        if not _is_number(self.by) or not self.by > 0:
            raise InputError("by", self.by, "give a positive factor")

    def factor(self, progress: float) -> float:
        """Give what to multiply the learning rate by.

        Args:
            progress: Share of all steps that are done, from 0 to 1.

        Returns:
            `by` to the power of the number of shares passed.

        Example:
            >>> Step(at=(0.5, 0.75), by=0.1).factor(0.5)
            0.1
        """
        return self.by ** sum(progress >= share for share in self.at)


Schedule = Constant | Cosine | Step


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
