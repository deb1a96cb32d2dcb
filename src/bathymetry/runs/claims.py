"""Claims over runs: stated as sentences or fields, checked against the settings and metrics that the runs have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bathymetry.claims.stating import rule_of
from bathymetry.core.errors import InputError, did_you_mean, is_real
from bathymetry.core.showing import joined, kind_of, label
from bathymetry.runs.at import At, read_at
from bathymetry.runs.run import Run, Scalar
from bathymetry.runs.sentences import UNNAMED, read_sentence, short_number, written
from bathymetry.runs.settings import is_same

Rule = Literal["majority", "stochastic_order", "best_of", "median_sign", "median_in_interval", "correlation", "exists"]
_MOST_CLAIMS = 100
_ALWAYS = ("rule", "metric", "name", "text", "where", "at", "higher_is_better")
_NEEDED: Mapping[str, Sequence[str]] = {  # fields that a rule must have
    "stochastic_order": ("first", "second", "direction"),
    "best_of": ("candidates", "others", "direction"),
    "median_sign": ("over", "direction"),
    "median_in_interval": ("low", "high"),
    "correlation": ("with", "direction"),
    "exists": ("along",),
}
_MORE: Mapping[str, Sequence[str]] = {  # and those that it may have
    "majority": ("above", "below", "by_step"),
    "stochastic_order": ("along",),
    "best_of": ("along",),
    "exists": ("above", "below", "by_step"),
}
_FIELDS = {rule: (*_ALWAYS, *_NEEDED.get(rule, ()), *_MORE.get(rule, ())) for rule in get_args(Rule)}
_EXPECTED = {
    "literal_error": "expected {expected}",
    "string_type": "expected text",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "list_type": "expected a list of values",
    "too_short": "expected at least one",
    "string_too_short": "expected text",
    "string_pattern_mismatch": "expected at most 60 letters, digits, - and _",
    "dict_type": "expected values by name, such as {{optimizer: adam}}",
}


class Claim(BaseModel):
    """One claim over runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    rule: Rule
    metric: str = Field(min_length=1)
    name: str = Field("", pattern=r"^[\w-]{0,60}$")  # by which `diff` finds it again; made from the text where empty
    text: str = ""  # how the page says it; written from the fields where it is empty
    where: dict[str, Scalar] = {}  # the claim is about runs with these settings
    at: str | None = None  # which number of a history counts; that of the comparison where None
    higher_is_better: bool | None = None  # so that runs that diverged rank last
    above: float | None = None
    below: float | None = None
    by_step: float | None = None
    along: str | None = None  # the setting whose values are compared
    first: Scalar = None
    second: Scalar = None
    candidates: list[Scalar] = Field([], min_length=1)
    others: list[Scalar] = Field([], min_length=1)
    direction: Literal["above", "below"] | None = None
    over: str | None = None  # a setting, or log before it
    low: float | None = None
    high: float | None = None
    with_: str | None = Field(None, alias="with")

    @cached_property
    def point(self) -> At | None:
        """Which number of a history counts."""
        return None if self.at is None else read_at(self.at)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.with_ is None else (self.metric, self.with_)

    @property
    def level(self) -> float:
        """The number that is reached."""
        return float(self.below if self.above is None else self.above)  # type: ignore[arg-type]

    @property
    def is_log(self) -> bool:
        return self.over is not None and self.along is not None and self.over != self.along

    @property
    def compared(self) -> list[Scalar]:
        """The values along the setting that one part of the claim compares."""
        return [self.first, self.second] if self.rule == "stochastic_order" else [*self.candidates, *self.others]

    @property
    def settings(self) -> list[str]:
        return [
            *(one for one in self.where if not one.startswith(UNNAMED)),
            *([self.along] if self.along is not None else []),
        ]


def read_claims(given: object) -> tuple[Claim, ...]:
    """Read claims, each a sentence or fields."""
    listed = given["claims"] if isinstance(given, Mapping) and set(given) == {"claims"} else given
    if isinstance(listed, str) or not isinstance(listed, Sequence) or len(listed) > _MOST_CLAIMS:
        raise InputError("claims", listed, f"expected a list of at most {_MOST_CLAIMS} sentences or fields")
    return tuple(_read(one, f"claims[{place}]") for place, one in enumerate(listed, start=1))


def _read(given: object, where: str) -> Claim:
    if isinstance(given, str) and given.strip():
        text = given.strip()
        return _checked({**read_sentence(text, where), "text": f"{text.removesuffix('.')}."}, where)
    if not isinstance(given, Mapping):
        raise InputError(where, given, "expected a sentence, or fields such as {rule: majority, metric: loss, …}")
    made = _checked(given, where)
    if made.text.strip():
        return made
    return made.model_copy(update={"text": f"{written(made.model_dump(by_alias=True))}."})


def _checked(given: Mapping[Any, Any], where: str) -> Claim:
    """Check the fields of a claim, by pydantic and by what its rule takes."""
    rule = rule_of(given, where, _FIELDS)
    for name in ("metric", *_NEEDED.get(rule, ())):
        if given.get(name) is None:
            raise InputError(f"{where}.{name}", None, "this rule needs it")
    try:
        made = Claim.model_validate(dict(given))
    except ValidationError as error:
        raise _complaint(error, where) from error
    _check_values(made, where)
    return made


def _complaint(error: ValidationError, where: str) -> InputError:
    first = error.errors(include_url=False)[0]
    place, context = first["loc"], {name: str(value).replace("'", "") for name, value in first.get("ctx", {}).items()}
    field = str(place[0]) if place else "fields"
    if field in ("first", "second", "candidates", "others", "where") and len(place) > 1:
        return InputError(f"{where}.{field}", first["input"], "expected a text, a number, true or false")
    remedy = _EXPECTED.get(first["type"], f"{first['msg'][:1].lower()}{first['msg'][1:]}")
    return InputError(f"{where}.{field}", first["input"], remedy.format(**context) if "{" in remedy else remedy)


def _check_values(claim: Claim, where: str) -> None:
    """Check what the types of the fields do not say."""
    if claim.rule in ("majority", "exists") and (claim.above is None) == (claim.below is None):
        raise InputError(f"{where}.above", claim.above, "expected above or below, one of them")
    if claim.by_step is not None and claim.at is not None:
        raise InputError(f"{where}.at", claim.at, "expected at or by_step, one of them")
    if claim.by_step is not None and claim.by_step < 0:
        raise InputError(f"{where}.by_step", short_number(claim.by_step), "expected a step, at least 0")
    if claim.low is not None and claim.high is not None and claim.low > claim.high:
        raise InputError(f"{where}.low", short_number(claim.low), f"expected at most high, {claim.high:g}")
    if claim.with_ == claim.metric:
        raise InputError(f"{where}.with", claim.with_, "expected another metric")
    if claim.at is not None:
        try:
            _ = claim.point
        except InputError as error:
            raise InputError(f"{where}.at", claim.at, error.remedy) from error
    values = claim.compared
    twice = [one for place, one in enumerate(values) if any(is_same(one, other) for other in values[:place])]
    if claim.rule in ("stochastic_order", "best_of") and twice:
        raise InputError(where, twice[0], "it is compared with itself; expected different values")


@dataclass(frozen=True)
class Known:
    """What runs have: the values of each setting, the metrics, and names that hold text."""

    settings: Mapping[str, Sequence[Scalar]]
    metrics: Sequence[str]
    texts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Self:
        """What some runs have."""
        found: dict[str, dict[str, Scalar]] = {}
        for run in runs:
            for name, value in run.config.items():
                found.setdefault(name, {}).setdefault(repr(value), value)
        metrics = dict.fromkeys(name for run in runs for name in run.metrics)
        texts = frozenset(name for run in runs for name in run.texts)
        return cls({name: [*values.values()] for name, values in found.items()}, [*metrics], texts)

    @classmethod
    def laid(cls, results: xr.Dataset) -> Self:
        """What runs have that are laid out."""
        if "status" not in results or "members" not in results.attrs:
            raise InputError("runs", kind_of(results), "expected what bm.runs.read returns")
        axes = [str(name) for name in results["status"].dims if name != "member"]
        metrics = [str(name).removesuffix("_history") for name in results if str(name).endswith("_history")]
        return cls({name: results[name].values.tolist() for name in axes}, metrics)

    def metric(self, name: str, where: str) -> None:
        """Refuse a metric that no run has."""
        if name in self.metrics:
            return
        why = "it holds text" if name in self.texts else "no run has it"
        guess = did_you_mean(name, [*self.metrics, *self.settings])  # of which a table may have made a metric
        remedy = f"{why}; {guess}expected {few([*self.metrics])}"
        raise InputError(where, name, remedy)

    def setting(self, name: str, where: str) -> None:
        """Refuse a setting that no run has."""
        if name not in self.settings:
            why = "it changes along a run" if name in self.metrics else "no run has this setting"
            remedy = f"{why}; {did_you_mean(name, self.settings)}expected {few([*self.settings])}"
            raise InputError(where, name, remedy)

    def value(self, name: str, value: Scalar, where: str) -> Scalar:
        """Find a value of a setting as the runs write it."""
        known = self.settings[name]
        for one in known:
            if is_same(value, one):
                return one
        shown = [label(one) for one in known]
        raise InputError(where, value, f"no run has it; {did_you_mean(value, shown)}{name} is {few(shown)}")


def few(names: Sequence[str], most: int = 6, last: str = "or") -> str:
    """List names, of many the first."""
    if len(names) > most:
        return f"{', '.join(names[:most])}, … ({len(names):,} in all)"
    return joined(names, last) if names else "a name, and the runs have none"


def resolved(claims: Sequence[Claim], known: Known, members: str, compare: str | None) -> tuple[Claim, ...]:
    """Check each claim against what the runs have, and find the settings of values that it names alone."""
    return tuple(
        _resolved(one, known, members, compare, f"claims[{place}]") for place, one in enumerate(claims, start=1)
    )


def _resolved(claim: Claim, known: Known, members: str, compare: str | None, where: str) -> Claim:
    for field, name in (("metric", claim.metric), ("with", claim.with_)):
        if name is not None:
            known.metric(name, f"{where}.{field}")
    change: dict[str, Any] = {}
    if claim.where:
        change["where"] = _found_where(claim.where, known, members, compare, where)
    if claim.rule == "median_sign":
        change["along"] = _axis_of_numbers(claim, known, members, where)
    elif claim.along is not None:
        known.setting(claim.along, f"{where}.along")
    if claim.rule in ("stochastic_order", "best_of"):
        along = claim.along or _setting_of(claim.compared, known, members, compare, where)
        change["along"] = along
        for field in ("first", "second") if claim.rule == "stochastic_order" else ("candidates", "others"):
            value = getattr(claim, field)
            several = value if isinstance(value, list) else [value]
            whole = [known.value(along, one, f"{where}.{field}") for one in several]
            change[field] = whole if isinstance(value, list) else whole[0]
    made = claim.model_copy(update=change)
    for name in made.settings:
        if name == members:
            raise InputError(where, name, "it tells members apart; expected another setting")
    if made.along is not None and made.along in made.where:
        raise InputError(f"{where}.where", made.along, "the claim compares its values; expected another setting")
    return made


def _found_where(
    given: Mapping[str, Scalar], known: Known, members: str, compare: str | None, where: str
) -> dict[str, Scalar]:
    """Check settings and their values, and find the settings of values that are named alone."""
    found: dict[str, Scalar] = {}
    for name, value in given.items():
        if name.startswith(UNNAMED):
            name = _setting_of([value], known, members, compare, f"{where}.where")
        known.setting(name, f"{where}.where")
        if name in found:
            raise InputError(f"{where}.where", name, "it has two values; expected one")
        found[name] = known.value(name, value, f"{where}.where.{name}")
    return found


def _axis_of_numbers(claim: Claim, known: Known, members: str, where: str) -> str:
    over = str(claim.over)
    name = over[4:] if over not in known.settings and over.startswith("log ") else over
    known.setting(name, f"{where}.over")
    if members == "run":
        raise InputError(f"{where}.over", over, "each run is a member by itself; expected members such as seed")
    values = known.settings[name]
    is_log = name != over
    if len(values) < 2 or not all(is_real(one) and (one > 0 or not is_log) for one in values):
        remedy = f"expected a setting of at least two numbers{', all above 0' * is_log}; {name} is"
        raise InputError(f"{where}.over", over, f"{remedy} {few([label(one) for one in values])}")
    return name


def _setting_of(values: Sequence[Scalar], known: Known, members: str, compare: str | None, where: str) -> str:
    """Find the one setting that has all of these values."""
    others = [name for name in known.settings if name not in (members, compare)]
    for names in ([compare] if compare in known.settings else [], others):
        having = [
            str(name)
            for name in names
            if all(any(is_same(one, other) for other in known.settings[str(name)]) for one in values)
        ]
        if len(having) == 1:
            return having[0]
        if having:
            remedy = (
                f"several settings have it; expected {joined([f'{name}={label(values[0])}' for name in having], 'or')}"
            )
            raise InputError(where, values[0], remedy)
    every = [one for name in others for one in known.settings[name]]
    lacking = next((one for one in values if not any(is_same(one, other) for other in every)), None)
    if lacking is None:
        raise InputError(where, joined([label(one) for one in values]), "no one setting has all of these values")
    guess = did_you_mean(lacking, [label(one) for one in every])
    remedy = f"no setting has this value; {guess}expected SETTING=VALUE"
    raise InputError(where, lacking, f"{remedy}, with a setting of {few([*known.settings])}")


def directions(metric: str | None, higher_is_better: bool | None, claims: Sequence[Claim]) -> dict[str, bool]:
    """Which metrics have the direction that is stated: the one that is compared, or the only one that needs it."""
    if higher_is_better is None:
        return {}
    ordered = [one for one in claims if one.rule in ("stochastic_order", "best_of") and one.higher_is_better is None]
    found = [metric] if metric is not None else list(dict.fromkeys(one.metric for one in ordered))
    if len(found) > 1:
        remedy = f"the claims are about {joined(found)}; state it as a field of each claim"
        raise InputError("higher_is_better", higher_is_better, remedy)
    return dict.fromkeys(found, bool(higher_is_better))
