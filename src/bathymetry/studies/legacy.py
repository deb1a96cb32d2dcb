# mypy: ignore-errors
"""Studies written as modules of functions, until each is one class. Goes away with the last of them."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import xarray as xr
from pydantic import Field, PositiveInt

from bathymetry import data, stats
from bathymetry.claims import Judged, Judgements
from bathymetry.claims.rules import Rule
from bathymetry.core.errors import InputError
from bathymetry.studies.arrays import at_the_end as at_the_end
from bathymetry.studies.arrays import without_diverged as without_diverged
from bathymetry.studies.base import FigureMark
from bathymetry.studies.base import Study as Base
from bathymetry.studies.plan import Plan
from bathymetry.studies.wording import joined

StudySettings = Base


def nothing_beside(results: Any) -> str:
    return ""


@dataclass(frozen=True)
class Claim:
    letter: str
    text: str
    kind: Any
    rule: str
    decide: Callable[[Any], Sequence[Any]]
    absolute: bool = False
    beside: Callable[[Any], str] = nothing_beside

    @property
    def decided(self) -> Rule:
        return Rule(self.kind, self.rule, lambda cell, at: None)


def as_recorded(settings: Any, results: xr.DataTree) -> xr.DataTree:
    return results


def nothing(results: xr.DataTree) -> Sequence[str]:
    return ()


def later(module: str, name: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*arguments)

    return call


class ImageSettings(StudySettings):
    data: str = Field("auto", description="auto, mnist, fashion-mnist, kmnist, strokes, digits, or a path")
    train_examples: PositiveInt | None = Field(None, description="at most so many training examples, drawn by seed")
    test_examples: PositiveInt | None = Field(None, description="at most so many test examples, drawn by seed")


@dataclass(frozen=True)
class Classes:
    examples: Any
    inputs: int
    classes: int


def classes_of(settings: Any, batch_size: int) -> Classes:
    whole = data.load(settings.data)
    if whole.classes is None:
        raise InputError("data", settings.data, "its targets are values; store class numbers as integers")
    drawn = data.subset(
        whole,
        min(settings.train_examples or len(whole.train), len(whole.train)),
        min(settings.test_examples or len(whole.test), len(whole.test)),
        settings.seed,
    )
    if batch_size > len(drawn.train):
        remedy = f"give at most the {len(drawn.train)} examples there are"
        raise InputError("batch_size", batch_size, remedy)
    return Classes(drawn, drawn.train.inputs.shape[1], whole.classes)


def parts_of(whole: xr.Dataset, named: Mapping[str, Sequence[str]], judge: Any, *, own: bool) -> list[Any]:
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
    return [missing_part([name for axis, names in axes.items() for name in names if name not in whole[axis].values])]


def missing_part(names: Sequence[str]) -> Any:
    return stats.not_run(f"this run did not include {joined(list(names))}", {})


def group_of(results: xr.DataTree, name: str) -> xr.Dataset:
    whole = results.children[name].to_dataset()
    own = [str(one) for one in whole.variables if str(one).startswith(f"{name}_")]
    names = {one: one.removeprefix(f"{name}_") for one in own}
    alone: xr.Dataset = whole.drop_vars(list(names.values()), errors="ignore").rename(names)
    return alone


def put_group(results: xr.DataTree, name: str, group: xr.Dataset) -> None:
    results.children[name].dataset = _told_apart(group, name, results.to_dataset())


def _told_apart(group: xr.Dataset, name: str, above: xr.Dataset) -> xr.Dataset:
    shared = [one for one in group.coords if one in above.coords]
    other = [one for one in shared if not group[one].identical(above[one])]
    return group.rename({one: f"{name}_{one}" for one in other})


@dataclass(frozen=True)
class OldStudy:
    name: str
    question: str
    about: str
    reading: str
    shows: tuple[str, ...]
    settings: Any
    plan: Callable[[Any], Plan]
    figures: Any
    claims: tuple[Claim, ...] = ()
    derive: Any = as_recorded
    seen: Any = nothing
    part: str = "Studies of your own"
    protocol_data: str | None = None


def Study(**given: Any) -> Any:  # noqa: N802 - what the modules call
    """Make a class of a study that is written as functions."""
    old = OldStudy(**given)

    def plan(self: Any) -> Any:
        made = old.plan(self)
        yield from made.ensembles
        yield from made.joints
        yield from made.notes

    def derive(self: Any, groups: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
        tree = old.derive(self, _as_before(groups, {"settings": self.model_dump(mode="json")}))
        return {
            "main": tree.to_dataset().drop_attrs(deep=False),
            **{str(name): group_of(tree, str(name)) for name in tree.children},
        }

    def judge(self: Any, results: xr.DataTree) -> Judgements:
        before, obstacle = _tree(results), self.departure(results)
        return Judgements(_judged(old, claim, before, obstacle) for claim in old.claims)

    def draw(self: Any, results: xr.DataTree) -> Any:
        mark = FigureMark("", "", "", None, (), None, key=False)
        return [(mark, one) for one in old.figures(_tree(results))]

    space = {
        "__module__": old.settings.__module__, "__qualname__": "STUDY", "__doc__": f"{old.question}\n\n{old.about}",
        "name": old.name, "part": old.part, "reading": old.reading, "protocol_data": old.protocol_data,
        "plan": plan, "derive": derive, "judge": judge, "draw": draw,
        "claims": classmethod(lambda cls: old.claims),
        "figures": classmethod(lambda cls: [FigureMark("", one, "", None, (), None, key=False) for one in old.shows]),
        "summary": lambda self, results, drawn: tuple(old.seen(_tree(results))),
    }  # fmt: skip
    made = type(old.settings)(old.name, (old.settings,), space)
    made.old = old
    return made


def _tree(results: xr.DataTree) -> xr.DataTree:
    return _as_before({str(name): node.to_dataset() for name, node in results.children.items()}, results.attrs)


def _as_before(groups: dict[str, xr.Dataset], attributes: Mapping[Any, Any]) -> xr.DataTree:
    plain = {name: _without_split(group) for name, group in groups.items()}
    tree = xr.DataTree(plain.pop("main"))
    for name, group in plain.items():
        tree[name] = xr.DataTree(_told_apart(group, name, tree.to_dataset()))
    tree.attrs = dict(attributes)
    return tree


def _without_split(group: xr.Dataset) -> xr.Dataset:
    if "split" not in group.dims or "loss" not in group or "split" not in group["loss"].dims:
        return group
    for quantity in ("loss", "accuracy"):
        if quantity in group:
            names = group["split"].values.tolist()
            each = {f"{name}_{quantity}": group[quantity].sel(split=name, drop=True) for name in names}
            each = {name: one.drop_vars("examples", errors="ignore") for name, one in each.items()}
            group = group.drop_vars(quantity).assign(each)
    return group.drop_vars(["split", "examples"], errors="ignore")


def _judged(old: OldStudy, claim: Claim, results: xr.DataTree, obstacle: str) -> Judged:
    if claim.absolute and obstacle:
        verdict = stats.Verdict(claim.kind, "not tested", (), 0, None, obstacle)
    else:
        parts = tuple(claim.decide(results)) or (stats.not_run("this run has nothing to test it by", {}),)
        verdict = stats.combine(claim.kind, parts)
    words = [claim.decided.finding(verdict), claim.beside(results) if verdict.decision != "not tested" else ""]
    return Judged(f"{old.name}.{claim.letter}", claim.text, claim.rule, verdict, " ".join(filter(None, words)))
