"""Merging the results of several people: the members of each study side by side, each network once.

A network is known by its seed and its number, for all else that decides its numbers is in the settings and the data,
which have to agree. The members of a merged result are numbered anew, in the order of the folders; its attribute
`sources` says whose they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import xarray as xr

from bathymetry.core.errors import BathymetryError, InputError, StorageError
from bathymetry.core.identity import digest
from bathymetry.core.showing import joined, plural
from bathymetry.execution.load_study import is_sweep, understood
from bathymetry.store.folder import check_output_folder, nothing_in, output_folder, provenance, writing
from bathymetry.store.results import RESULT, Source, keep_earlier_result, read_results, sources_of, write_results
from bathymetry.store.storage import Place, exists, label, names, read
from bathymetry.studies import Study, find
from bathymetry.studies.base import Groups
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.settings import field_name, shown
from bathymetry.sweeps.sweep import Sweep

_NAMED = 3  # settings or folders that are named in an error
_MAY_DIFFER = ("seed", "device", "data")  # data count by their digest


@dataclass(frozen=True)
class _Part:
    """One folder's results of a study."""

    folder: str  # as errors and the page call it
    path: str  # as it was given
    study: Study
    results: xr.DataTree
    sources: tuple[Source, ...]


@dataclass
class _Taken:
    """The networks that a merged result has, and how many were there more than once."""

    labels: dict[tuple[int, int], int] = field(default_factory=dict)  # by seed and number
    sources: list[Source] = field(default_factory=list)
    duplicates: int = 0


def merge(folders: Sequence[Place], out: Place, own: Sequence[type[Study]] = ()) -> Iterator[str]:
    """Merge the results in some folders into another, all of them or none, with a sentence for each study."""
    if len(folders) < 2:
        raise InputError("folders", joined(list(map(str, folders))), "expected at least two output folders")
    for folder in folders:
        _check_outside(out, folder)
    kinds = {one.name: one for one in own}
    parts: dict[str, list[_Part]] = {}
    damaged: list[str] = []
    for folder, name in zip(folders, _names(folders), strict=True):
        check_output_folder(folder)
        found = [folder / one for one in names(folder) if exists(folder / one / RESULT)]
        if not found:
            raise InputError("folder", folder, nothing_in(folder))
        for place in found:
            try:
                part = _part(place, name, str(folder), kinds)
                parts.setdefault(part.study.name, []).append(part)
            except StorageError as error:
                damaged.append(str(error))
    if damaged:
        raise StorageError(" ".join(damaged))
    merged = [_merged(some, len(folders)) for some in parts.values()]
    with output_folder(out) as opened, writing(opened):
        for results, words in merged:
            path = opened / str(results.attrs["study"]) / RESULT
            moved = keep_earlier_result(path, results.attrs)
            write_results(path, results)
            yield from (words, *([moved] if moved else []))


def _check_outside(out: Place, folder: Place) -> None:
    """Refuse to write into a folder that is merged, by whatever name or link it is reached."""
    there, merged = (one.resolve() if isinstance(one, Path) else one for one in (out, folder))
    if there == merged:
        raise InputError("out", out, "it is one of the folders that are merged; expected another one")
    if str(there).startswith(f"{merged}/"):
        raise InputError("out", out, f"it is within {folder}, which is merged; expected a folder outside")


def _names(folders: Sequence[Place]) -> list[str]:
    """Name folders by their last part, or whole where several have the same."""
    short = list(map(label, folders))
    return [one if short.count(one) == 1 else str(folder) for one, folder in zip(short, folders, strict=True)]


def _part(place: Place, folder: str, path: str, own: Mapping[str, type[Study]]) -> _Part:
    results = read_results(place / RESULT)
    name = str(results.attrs.get("study"))
    kind = Sweep if is_sweep(results.attrs) else own.get(name) or (find(name) if name in SHIPPED else None)
    if kind is None:
        remedy = "it does not come with Bathymetry and stored results run no code; name its file: --study FILE.py"
        raise InputError("study", name, remedy)
    study, results.attrs = understood(kind, results.attrs)
    labels = [one["member"].values for one in _groups(results).values() if "member" in one.dims]
    numbers = range(1 + max((int(one.max()) for one in labels if one.size), default=-1))
    alone = Source(path, folder, digest(read(place / RESULT)), _counted(study), tuple(numbers))
    return _Part(folder, path, study, results, tuple(sources_of(results.attrs)) or (alone,))


def _groups(results: xr.DataTree) -> Groups:
    return {str(name): one.to_dataset(inherit=False) for name, one in results.children.items()}


def _counted(study: Study) -> dict[str, int]:
    """The seed of a study, and its settings that say how many members there are."""
    return {name: getattr(study, name) for name in type(study).model_fields if name == "seed" or _is_count(name)}


def _is_count(name: str) -> bool:
    return name.endswith("members")


def _merged(parts: Sequence[_Part], count: int) -> tuple[xr.DataTree, str]:
    """Put the members of all parts side by side."""
    _check_same(parts)
    study, first = parts[0].study, parts[0].results
    taken, pieces = _Taken(), dict[str, list[xr.Dataset]]()
    for part in parts:
        labels = _take(part, taken)
        for name, group in _groups(part.results).items():
            pieces.setdefault(name, []).append(
                _relabelled(group.drop_dims(study.over_members, errors="ignore"), labels)
            )
    groups = {name: _side_by_side(some) for name, some in pieces.items()}
    counts = {
        name: sum(number < one.settings.get(name, 0) for one in taken.sources for number in one.numbers)
        for name in _counted(study)
        if name != "seed"
    }
    study = study.model_copy(update=counts)
    if study.over_members:
        groups = study.derive(groups)
    results = xr.DataTree.from_dict(study.described(groups))
    people = {one.settings["seed"] for one in taken.sources}
    words = f"{len(taken.labels):,} members from {len(parts)} folders, with {len(people)} {plural('seed', len(people))}"
    if taken.duplicates:
        words += f"; {taken.duplicates:,} {plural('duplicate', taken.duplicates)} left out"
    lacking = f"; {count - len(parts)} of {count} folders have no results of it" if len(parts) < count else ""
    notes = [
        str(note) for part in parts for note in part.results.attrs["notes"] if not part.results.attrs.get("sources")
    ]
    results.attrs = {
        **first.attrs,
        "settings": study.model_dump(mode="json"),
        "notes": [*dict.fromkeys(notes), f"Merged: {words}{lacking}."],
        "chunks": {name: one for part in parts for name, one in part.results.attrs.get("chunks", {}).items()},
        "seconds": _added([part.results.attrs.get("seconds", {}) for part in parts]),
        "provenance": _common([part.results.attrs["provenance"] for part in parts])
        | {"time": provenance("cpu")["time"]},
        "sources": [vars(one) for one in taken.sources],
    }
    return results, f"{study.name}: {words}{lacking}."


def _check_same(parts: Sequence[_Part]) -> None:
    """Refuse parts with different settings or data, by name and value."""
    study = parts[0].study
    fields = [name for name in type(study).model_fields if name not in _MAY_DIFFER and not _is_count(name)]
    differing = [f"{field_name(name)} differs: {_whose(parts, name)}" for name in fields if not _agree(parts, name)]
    if len(differing) > _NAMED:
        differing[_NAMED:] = [f"{len(differing) - _NAMED} more settings differ"]
    if differing:
        remedy = "expected folders with the same settings; seed and members may differ"
        raise BathymetryError(f"{study.name}: {'; '.join(differing)}; {remedy}.")
    values = [_digests(part) for part in parts]
    if any(one != values[0] for one in values):
        words = _by_value([(part.folder, joined(sorted(part.results.attrs["data"].values()))) for part in parts])
        raise BathymetryError(f"{study.name}: data differ: {words}; expected folders with the same data.")


def _agree(parts: Sequence[_Part], name: str) -> bool:
    return all(getattr(one.study, name) == getattr(parts[0].study, name) for one in parts)


def _digests(part: _Part) -> set[str]:
    return {str(origin).rpartition(", digest ")[2] for origin in part.results.attrs["data"].values()}


def _whose(parts: Sequence[_Part], name: str) -> str:
    return _by_value([(part.folder, shown(getattr(part.study, name))) for part in parts])


def _by_value(values: Sequence[tuple[str, str]]) -> str:
    """Say which folders have which value: "50 in a and b, 60 in c"."""
    whose: dict[str, list[str]] = {}
    for folder, value in values:
        whose.setdefault(value, []).append(folder)
    words = [f"{value} in {_few(folders)}" for value, folders in whose.items()]
    return ", ".join(
        [*words[:_NAMED], f"{len(words) - _NAMED} other values elsewhere"] if len(words) > _NAMED + 1 else words
    )


def _few(folders: Sequence[str]) -> str:
    more = len(folders) - _NAMED
    return joined([*folders[:_NAMED], f"{more} more"] if more > 0 else list(folders))


def _take(part: _Part, taken: _Taken) -> dict[int, int]:
    """Take the networks of a part that are not there yet: their labels in it, and in the merged result."""
    labels: dict[int, int] = {}
    place = 0
    for source in part.sources:
        kept = []
        for number in source.numbers:
            key = (source.settings["seed"], number)
            if key in taken.labels:
                taken.duplicates += 1
            else:
                labels[place] = taken.labels[key] = len(taken.labels)
                kept.append(number)
            place += 1
        if kept:
            taken.sources.append(replace(source, folder=part.path, numbers=tuple(kept)))
    return labels


def _relabelled(group: xr.Dataset, labels: Mapping[int, int]) -> xr.Dataset:
    if "member" not in group.dims:
        return group
    there = group["member"].values.tolist()
    kept = [place for place, member in enumerate(there) if member in labels]
    return group.isel(member=kept).assign_coords(member=[labels[there[place]] for place in kept])


def _side_by_side(pieces: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put groups next to each other along `member`; what has no member is that of the first that has it."""
    if "member" not in pieces[0].dims:
        return pieces[0]
    whole = [one for one in pieces if one.sizes["member"]]
    joined_ = xr.concat(
        whole,
        "member",
        join="outer",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        combine_attrs="override",
    )
    if any(
        one.sizes[dim] != size
        for one in whole
        for dim, size in joined_.sizes.items()
        if dim in one.sizes and dim != "member"
    ):
        shared = [one.drop_dims("member") for one in whole]
        filled = reduce(lambda one, other: one.combine_first(other), shared)
        joined_ = joined_.assign(filled.variables)
    return joined_


def _added(some: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {
        name: round(sum(one.get(name, 0.0) for one in some), 3)
        for name in dict.fromkeys(n for one in some for n in one)
    }


def _common(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write down what all have in common, and of the rest the first few values."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in some for name in one):
        values = [one[name] for one in some if name in one]
        if all(isinstance(one, Mapping) for one in values):
            made[name] = _common(values)
        else:
            different = list(dict.fromkeys(map(str, values)))
            made[name] = (
                values[0] if len(different) == 1 else "; ".join(different[:_NAMED]) + "; …" * (len(different) > _NAMED)
            )
    return made
