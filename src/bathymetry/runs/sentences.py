"""Claims over runs as sentences: a small grammar, read into the fields that a claim has, and written from them.

    A reaches METRIC < NUMBER in most runs                  majority
    most runs reach METRIC < NUMBER                         majority
    A above B on METRIC                                     stochastic_order
    one of A, B above each of C, D on METRIC                best_of
    METRIC falls with SETTING                               median_sign; also rises, and "log SETTING"
    METRIC of A lies between NUMBER and NUMBER              median_in_interval
    METRIC and METRIC correlate positively                  correlation; also negatively
    some SETTING reaches METRIC < NUMBER in all runs        exists

A, B, C and D are SETTING=VALUE; VALUE alone will do where it is that of one setting. A METRIC may be followed by
"of A", and a sentence by "in A", "at last" (or best, step:N,
mean:last-10%) and, where something is reached, "by step N". Several SETTING=VALUE are joined by commas, and all hold.
Names with spaces, commas or signs, and names that are words of a sentence, are quoted: "val loss".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from bathymetry.core.errors import InputError, abridged, did_you_mean
from bathymetry.core.showing import joined
from bathymetry.runs.run import Scalar
from bathymetry.runs.settings import parsed

Fields = dict[str, Any]
_MOST_LETTERS = 1_000
UNNAMED = '"'  # the start of what stands for the setting of a value that is named alone; no name can have it
_TOKEN = re.compile(r'\s*(?:"([^"]+)"|([^\s",<>=]+)|([,<>=]))')
_SIDES = {"<": "below", ">": "above", "below": "below", "above": "above"}
_FORMS = (
    "A reaches METRIC < 1 in most runs",
    "A above B on METRIC",
    "one of A, B above each of C on METRIC",
    "METRIC falls with SETTING",
    "METRIC lies between 0 and 1",
    "METRIC and METRIC correlate positively",
    "some SETTING reaches METRIC < 1 in all runs",
)
_OF_SENTENCES = """above all and at below between by correlate each falls in lies log most negatively of on one
positively reach reaches rises runs some step with"""
_WORDS = frozenset(_OF_SENTENCES.split())


@dataclass(frozen=True)
class _Token:
    text: str
    quoted: bool = False

    def __eq__(self, other: object) -> bool:
        """A quoted word is a name, and none of the grammar's."""
        return self.text == other and not self.quoted

    __hash__ = None  # type: ignore[assignment]


def read_sentence(text: str, where: str) -> Fields:
    """Read a sentence into the fields of a claim; `where` names it in errors."""
    if len(text) > _MOST_LETTERS:
        raise InputError(where, text, f"it has {len(text):,} letters; expected at most {_MOST_LETTERS:,}")
    plain = text.strip().removesuffix(".")
    tokens, place = list[_Token](), 0
    while plain[place:].strip():
        found = _TOKEN.match(plain, place)
        if found is None:
            raise InputError(where, text, 'a " is left open; expected one before and one after a name')
        tokens.append(_Token(found[1], quoted=True) if found[1] else _Token(found[2] or found[3]))
        place = found.end()
    return _Sentence(tokens, text, where).fields()


class _Sentence:
    """Reads the words of a sentence one after the other."""

    def __init__(self, tokens: list[_Token], text: str, where: str) -> None:
        self._tokens, self._text, self._where, self._at = tokens, text, where, 0

    def fields(self) -> Fields:
        """Find out by its words which form a sentence has."""
        form = self._form()
        found = {"rule": form.__name__.removeprefix("_"), **form()}
        where: dict[str, Scalar] = found.pop("where", {})
        while self._at < len(self._tokens):
            self._ending(found, where)
        return {**found, **({"where": where} if where else {})}

    def _form(self) -> Callable[[], Fields]:
        tokens = self._tokens
        if tokens[:1] == ["some"]:
            return self._exists
        if tokens[:2] == ["one", "of"]:
            return self._best_of
        if tokens[:2] == ["most", "runs"]:
            return self._majority
        forms: Mapping[str, Callable[[], Fields]] = {
            "reaches": self._majority, "reach": self._majority,
            "above": self._stochastic_order, "below": self._stochastic_order,
            "falls": self._median_sign, "rises": self._median_sign,
            "lies": self._median_in_interval,
            "correlate": self._correlation,
        }  # fmt: skip
        for token in tokens:
            if not token.quoted and token.text in forms:
                return forms[token.text]
        words = [one.text for one in tokens if not one.quoted]
        guess = next((guess for one in words if one not in _WORDS and (guess := did_you_mean(one, forms))), "")
        raise InputError(self._where, abridged(self._text, 60), f"{guess}expected a form such as {'; '.join(_FORMS)}")

    def _majority(self) -> Fields:
        """A reaches METRIC < NUMBER … in most runs; most runs reach METRIC < NUMBER."""
        if self._accept("most"):
            self._take("runs")
            where = self._settings() if self._accept("in", "of") else {}
            self._take("reach")
            return {**self._threshold(), "where": where}
        where = {} if self._next() in ("reaches", "runs") else self._settings()
        self._take("reaches", "reach")
        return {**self._threshold(), "where": where, **self._until("most")}

    def _exists(self) -> Fields:
        """Some SETTING reaches METRIC < NUMBER … in all runs."""
        self._take("some")
        along = self._name("a setting")
        self._take("reaches")
        return {"along": along, **self._threshold(), **self._until("all")}

    def _stochastic_order(self) -> Fields:
        """A above B on METRIC."""
        along, first = self._operand()
        side = self._take("above", "below")
        also, second = self._operand()
        return {**self._along(along, also), "first": first, "second": second, "direction": side, **self._on()}

    def _best_of(self) -> Fields:
        """One of A, B above each of C, D on METRIC."""
        self._take("one")
        self._take("of")
        along, candidates = self._operands()
        side = self._take("above", "below")
        if self._accept("each"):
            self._take("of")
        also, others = self._operands()
        return {
            **self._along(*along, *also),
            "candidates": candidates,
            "others": others,
            "direction": side,
            **self._on(),
        }

    def _median_sign(self) -> Fields:
        """METRIC falls with SETTING."""
        found = self._metric()
        side = "below" if self._take("falls", "rises") == "falls" else "above"
        self._take("with")
        is_log = self._next() == "log" and self._at + 1 < len(self._tokens)
        self._at += is_log
        return {**found, "direction": side, "over": f"{'log ' * is_log}{self._name('a setting')}"}

    def _median_in_interval(self) -> Fields:
        """METRIC of A lies between LOW and HIGH."""
        found = self._metric()
        self._take("lies")
        self._take("between")
        low = self._number()
        self._take("and")
        return {**found, "low": low, "high": self._number()}

    def _correlation(self) -> Fields:
        """METRIC and METRIC correlate positively."""
        first = self._name("a metric")
        self._take("and")
        second = self._name("a metric")
        self._take("correlate")
        side = "above" if self._take("positively", "negatively") == "positively" else "below"
        return {"metric": first, "with": second, "direction": side}

    def _ending(self, found: Fields, where: dict[str, Scalar]) -> None:
        """At POINT, by step N, or in SETTING=VALUE, each once."""
        word = self._take("at", "by", "in")
        if word == "in":
            for name, value in self._settings().items():
                if name in where:
                    self._refuse("one value", f"{name} has two")
                where[name] = value
            return
        field = "at" if word == "at" else "by_step"
        if field in found:
            self._refuse(f'"{word}" once')
        if word == "by":
            self._take("step")
            found["by_step"] = self._number()
        else:
            point = self._name("last, best, step:N or mean:last-10%")
            found["at"] = f"step:{self._name('a step')}" if point == "step" else point

    def _until(self, share: str) -> Fields:
        """Read what stands between the number and "in most runs"."""
        found: Fields = {}
        while self._tokens[self._at : self._at + 2] != ["in", share]:
            if self._next() not in ("at", "by"):
                self._refuse(f'"in {share} runs"')
            self._ending(found, {})
        self._at += 2
        self._take("runs")
        return found

    def _threshold(self) -> Fields:
        metric = self._name("a metric")
        side = _SIDES[self._take("<", ">", "below", "above")]
        return {"metric": metric, side: self._number()}

    def _metric(self) -> Fields:
        metric = self._name("a metric")
        return {"metric": metric, **({"where": self._settings()} if self._accept("of") else {})}

    def _on(self) -> Fields:
        self._take("on")
        return self._metric()

    def _settings(self) -> dict[str, Scalar]:
        """Read SETTING=VALUE or VALUE, several joined by commas; of the latter the setting is found later."""
        found: dict[str, Scalar] = {}
        while True:
            name, value = self._operand()
            found[f"{UNNAMED}{len(found) + 1}" if name is None else name] = value
            if not self._accept(","):
                return found

    def _operand(self) -> tuple[str | None, Scalar]:
        """Read VALUE or SETTING=VALUE."""
        value = self._value()
        return (str(self._tokens[self._at - 2].text), self._value()) if self._accept("=") else (None, value)

    def _operands(self) -> tuple[list[str | None], list[Scalar]]:
        pairs = [self._operand()]
        while self._accept(",", "or", "and"):
            pairs.append(self._operand())
        names, values = zip(*pairs, strict=True)
        return list(names), list(values)

    def _along(self, *names: str | None) -> Fields:
        """The setting whose values are compared; none where no value has its name."""
        stated = list(dict.fromkeys(one for one in names if one is not None))
        if len(stated) > 1:
            raise InputError(self._where, self._text, f"expected values of one setting, not of {joined(stated)}")
        return {"along": stated[0]} if stated else {}

    def _next(self) -> str:
        """The next word, unless it is quoted."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else _Token("", quoted=True)
        return "" if token.quoted else token.text

    def _accept(self, *words: str) -> bool:
        is_there = self._next() in words
        self._at += is_there
        return is_there

    def _take(self, *words: str) -> str:
        word = self._next()
        if word not in words:
            self._refuse(joined([f'"{one}"' for one in words], "or"))
        self._at += 1
        return word

    def _any(self, expected: str) -> _Token:
        if self._at >= len(self._tokens) or self._next() in (",", "=", "<", ">"):
            self._refuse(expected)
        self._at += 1
        return self._tokens[self._at - 1]

    def _name(self, expected: str) -> str:
        return self._any(expected).text

    def _value(self) -> Scalar:
        token = self._any("a value")
        return token.text if token.quoted else parsed(token.text)

    def _number(self) -> float:
        token = self._any("a number")
        value = parsed(token.text)
        if token.quoted or isinstance(value, str | bool) or value is None:
            self._at -= 1
            self._refuse("a number")
        return value

    def _refuse(self, expected: str, why: str = "") -> NoReturn:
        """Say what was expected after which word."""
        before = f"after “{self._tokens[self._at - 1].text[:40]}” " if self._at else ""
        there = f", not “{self._tokens[self._at].text[:40]}”" if self._at < len(self._tokens) else ""
        hint = "; put names with spaces in quotes" if there and not why else ""
        raise InputError(self._where, self._text, f"{why}{'; ' * bool(why)}{before}expected {expected}{there}{hint}")


def written(fields: Mapping[str, Any]) -> str:
    """Write the sentence of a claim's fields, which `read_sentence` reads back."""
    metric, along, direction = _quoted(fields["metric"]), fields.get("along"), str(fields.get("direction"))
    of = f"of {_settings(fields['where'])}" if fields.get("where") else ""
    side = "below" if fields.get("above") is None else "above"
    reached = f"{metric} {'<' if side == 'below' else '>'} {short_number(fields.get(side) or 0)}"
    point = f"at {fields['at']}" if fields.get("at") else ""
    step = f"by step {short_number(fields['by_step'])}" if fields.get("by_step") is not None else ""
    match fields["rule"]:
        case "majority" if of:
            words = [of.removeprefix("of "), "reaches", reached, step, point, "in most runs"]
        case "majority":
            words = ["most runs reach", reached, step, point]
        case "exists":
            words = ["some", _quoted(along), "reaches", reached, step, point, "in all runs", of.replace("of", "in", 1)]
        case "stochastic_order":
            first, second = (_operand(along, fields[one]) for one in ("first", "second"))
            words = [first, direction, second, "on", metric, of, point]
        case "best_of":
            groups = [", ".join(_operand(along, one) for one in fields[of_]) for of_ in ("candidates", "others")]
            words = ["one of", groups[0], direction, "each of", groups[1], "on", metric, of, point]
        case "median_sign":
            log, over = ("log ", fields["over"][4:]) if fields["over"].startswith("log ") else ("", fields["over"])
            words = [metric, of, "falls" if direction == "below" else "rises", "with", f"{log}{_quoted(over)}", point]
        case "median_in_interval":
            low, high = (short_number(fields[one]) for one in ("low", "high"))
            words = [metric, of, f"lies between {low} and {high}", point]
        case _:
            how = "positively" if direction == "above" else "negatively"
            words = [metric, "and", _quoted(fields["with"]), "correlate", how, of.replace("of", "in", 1), point]
    return " ".join(filter(None, words))


def short_number(value: Any) -> str:
    """Write a number that is read back as it is, a whole one without its point."""
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def _operand(along: str | None, value: object) -> str:
    return f"{_quoted(along)}={_valued(value)}" if along else _valued(value)


def _settings(where: Mapping[str, Any]) -> str:
    named = {name: "" if name.startswith(UNNAMED) else f"{_quoted(name)}=" for name in where}
    return ", ".join(f"{named[name]}{_valued(value)}" for name, value in where.items())


def _valued(value: object) -> str:
    """Write a value; a text that would be read as a number or truth value is quoted."""
    text = str(value)
    return f'"{text}"' if isinstance(value, str) and parsed(text) != value else _quoted(text)


def _quoted(name: object) -> str:
    text = str(name)
    is_plain = re.fullmatch(r'[^\s",<>=]+', text) and text not in _WORDS and text != "or" and not text.endswith(".")
    return text if is_plain else f'"{text}"'
