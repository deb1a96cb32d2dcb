"""Claims as fields, in a specification of a sweep or over runs: the rule and its fields, checked by name."""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.stats.verdict import RENAMED


def letter(place: int) -> str:
    """The letter of a claim on a page."""
    return ascii_lowercase[place] if place < len(ascii_lowercase) else f"claim{place + 1}"


def rule_of(given: Mapping[Any, Any], where: str, fields: Mapping[str, Sequence[str]]) -> str:
    """Read the rule of a claim, `where` its name in errors, and refuse fields that this rule does not take."""
    rule = given.get("rule")
    if isinstance(rule, str) and (now := RENAMED.get(rule)) in fields:
        raise InputError(f"{where}.rule", rule, f"this rule is now called {now}; write that")
    if not isinstance(rule, str) or rule not in fields:
        raise InputError(f"{where}.rule", rule, f"{did_you_mean(rule, fields)}expected {', '.join(fields)}")
    for name, value in given.items():
        if name not in fields[rule]:
            remedy = f"{rule} takes no such field; {did_you_mean(name, fields[rule])}expected {', '.join(fields[rule])}"
            raise InputError(f"{where}.{name}", value, remedy)
    return rule
