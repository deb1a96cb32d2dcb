"""Claims as fields, in a specification of a sweep or over runs: the rule and its fields, checked by name."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.stats.verdict import RENAMED

_MOST_LETTERS = 60  # of a name made of words


def letter(place: int) -> str:
    """The letter of a claim on a page."""
    return ascii_lowercase[place] if place < len(ascii_lowercase) else f"claim{place + 1}"


def slugs(texts: Sequence[str]) -> list[str]:
    """Name texts by their words, all differently: "adam above sgd on acc." is adam-above-sgd-on-acc."""
    found: list[str] = []
    for text in texts:
        words = re.sub(r"(?<![\w.])[-−](?=\d)", "minus ", text.strip().rstrip("."))
        words = words.replace("<", " below ").replace(">", " above ").replace(".", "_")
        name = "-".join(re.findall(r"\w+", words)) or "claim"
        if len(name) > _MOST_LETTERS:
            name = f"{name[:_MOST_LETTERS].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        again, once = 1, name
        while name in found:
            again += 1
            name = f"{once}-again{again}"
        found.append(name)
    return found


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
