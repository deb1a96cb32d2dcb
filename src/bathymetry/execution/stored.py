"""Stored results with the study that they are of, their networks, and results of other settings in the same folder.

Nothing that is stored leads to code: studies that come with Bathymetry are known by name, any other is run only when
the caller names it.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from pydantic import ValidationError

from bathymetry.core.errors import BathymetryError, InputError, StorageError, path_of
from bathymetry.core.identity import describe
from bathymetry.core.showing import joined
from bathymetry.store.chunks import config_hash, load, quarantine
from bathymetry.store.results import read_results
from bathymetry.studies import Study, find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.plan import MAIN, Coordinate, Plan, PlannedEnsemble

if TYPE_CHECKING:
    from torch import nn

    from bathymetry.execution.run import StudyRun

RESULT = "result.nc"


def load_study(folder: Path | str, study: str | Path | type[Study] | None = None) -> "StudyRun":
    """Read a study's stored results.

    Args:
        folder: Its folder inside the output folder, `OUT/STUDY`.
        study: The study that they are of, needed where it does not come with Bathymetry: the Python file that defines
            it, which is run; the name under which a package offers it; or its class.

    Returns:
        The study with its results.

    Raises:
        InputError: If the study does not come with Bathymetry and none is named, or another one is.
    """
    from bathymetry.execution.run import StudyRun

    folder = path_of("folder", folder)
    results = read_results(folder / RESULT)
    name = str(results.attrs.get("study"))
    if study is None and name not in SHIPPED:
        remedy = "it does not come with Bathymetry and stored results run no code; name its file: study=FILE"
        raise InputError("study", name, remedy)
    kind = study if isinstance(study, type) else find(name if study is None else study)
    if kind.name != name:
        raise InputError("study", kind.name, f"the results in {folder} are those of {name}")
    settings, results.attrs = understood(kind, results.attrs)
    return StudyRun(settings, results, folder.parent)


def rebuild_study(study: type[Study], settings: Mapping[str, Any], out: Path) -> "StudyRun":
    """Put a study's results together again from its stored chunks, without training.

    Args:
        study: The study.
        settings: The settings of its results.
        out: The output folder, which the caller holds.

    Returns:
        The study with its results, which are stored in place of those that were.

    Raises:
        StorageError: If some of its chunks are not stored or damaged.
    """
    from bathymetry.execution.run import put_together
    from bathymetry.execution.work import compare

    try:
        one = study.model_validate(dict(settings))
    except ValidationError as error:
        raise StorageError(f"The settings of {study.name} can't be read again: run the study again.") from error
    work = compare(out, one.planned, read=True)
    if work.num_chunks or any(task.missing for task in work.joints):
        raise StorageError(f"Chunks of {study.name} are missing: run the study again, and only those are trained.")
    return put_together(one, work, out)


def understood(study: type[Study], attributes: Mapping[Any, Any]) -> tuple[Study, dict[str, Any]]:
    """Read what is stored with results, perhaps by another version, as far as this version knows it.

    Args:
        study: The study that they are of.
        attributes: What was stored.

    Returns:
        The study with the stored settings, and the attributes with a note for each setting that is unknown or missing.

    Raises:
        StorageError: If the settings are none that the study can have.
    """
    stored = {**attributes}
    given = _mapping(stored.get("settings"))
    fields = study.model_fields
    try:
        settings = study.model_validate({name: given[name] for name in fields if name in given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        remedy = "use the version that stored them, or run the study again"
        raise StorageError(
            f"The stored settings of {study.name} are none that this version knows ({what}): {remedy}."
        ) from error
    notes = [str(one) for one in stored["notes"]] if isinstance(stored.get("notes"), list) else []
    unknown = [str(name) for name in given if name not in fields]
    absent = [f"{name} (here {getattr(settings, name)})" for name in fields if name not in given]
    if unknown:
        notes.append(f"Another version stored these results; this one does not know their settings {joined(unknown)}.")
    if absent:
        notes.append(f"Another version stored these results without the settings {joined(absent)}.")
    without = [name for name in ("data", "provenance") if not isinstance(stored.get(name), dict)]
    if without:
        notes.append(f"These results were stored without their {joined(without)}.")
    return settings, stored | {
        "study": study.name,
        "settings": settings.model_dump(mode="json"),
        "notes": notes,
        "data": {str(name): str(origin) for name, origin in _mapping(stored.get("data")).items()},
        "provenance": _mapping(stored.get("provenance")),
    }


def set_apart(path: Path, attributes: Mapping[Any, Any]) -> str:
    """Rename the result at a path if one with these attributes would not contain all of it.

    Args:
        path: `OUT/STUDY/result.nc`.
        attributes: Those of the result that is about to take its place.

    Returns:
        A sentence that says where the earlier result is now; empty if nothing was renamed. One that can't be read is
        moved as well: nothing that is stored is lost.
    """
    if not os.path.lexists(path):
        return ""
    try:
        earlier = read_results(path, earlier=True).attrs
    except StorageError as error:  # also one of a later version, or one that only its owner may read
        return f"{error} It was moved to {quarantine(path.parent.parent, path)}."
    if _contains(attributes, earlier):
        return ""
    apart = path.with_name(f"result-{config_hash(describe(_identity(earlier)))[:12]}.nc")
    path.replace(apart)
    return (
        f"{attributes['study']}: an earlier result with other settings is now {apart.parent.name}/{apart.name}; "
        "the page shows the new one and the command that brings back the earlier one."
    )


def others(folder: Path, attributes: Mapping[Any, Any]) -> Sequence[xr.DataTree]:
    """The results in `OUT/STUDY` that the one with these attributes does not contain, as far as they can be read."""
    found = []
    for path in sorted(folder.glob("result-*.nc")):
        try:
            results = read_results(path, earlier=True)
        except BathymetryError:
            continue
        if not _contains(attributes, results.attrs):
            found.append(results)
    return found


def _identity(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    # Data count by their digest, so that "auto" and the name that it stood for are the same.
    settings = {name: value for name, value in attributes.get("settings", {}).items() if name not in ("device", "data")}
    data = {name: origin.rpartition(", digest ")[2] for name, origin in attributes.get("data", {}).items()}
    return {"settings": settings, "data": data}


def _contains(new: Mapping[Any, Any], earlier: Mapping[Any, Any]) -> bool:
    """Whether a result has all of an earlier one: the same settings and data, and at least as many members."""
    one, other = _identity(new), _identity(earlier)
    enough = one["settings"].pop("members", 0) >= other["settings"].pop("members", 0)
    return enough and one == other


def stored_networks(study: Study, out: Path, group: str, coordinates: Mapping[str, Coordinate]) -> "list[nn.Module]":
    """Build the networks of one ensemble with the parameters that their training ended with."""
    import torch

    from bathymetry.core.tensors import running_statistics
    from bathymetry.training.ensemble import build_members

    planned = _ensemble(study.planned, group, coordinates)
    config = planned.config
    chunk = load(out, config_hash(config.description()), planned.members)
    modules = build_members(config.network, planned.members, config.seed, same_start=config.same_start)
    kept = running_statistics(modules[0])
    if kept:
        remedy = "its running statistics are not stored with its parameters; expected a network without, or bm.train"
        raise InputError("networks", f"{type(modules[0]).__name__} with {kept[0] or 'normalisation'}", remedy)
    last = chunk.snapshots[max(chunk.snapshots)]
    for place, module in enumerate(modules):
        own = dict(module.to(config.dtype).named_parameters())
        with torch.no_grad():
            for name, values in last.items():
                own[name].copy_(torch.from_numpy(values[place]))
        module.eval()
    return modules


def _ensemble(plan: Plan, group: str, coordinates: Mapping[str, Coordinate]) -> PlannedEnsemble:
    """Find the one ensemble that has these coordinates."""
    wanted = coordinates.items()
    found = [one for one in plan.ensembles if one.group == group and wanted <= one.coordinates.items()]
    if len(found) == 1:
        return found[0]
    there = "; ".join(_words(one.group, one.coordinates) for one in (found or plan.ensembles)[:12])
    remedy = f"{len(found)} ensembles are there; expected the coordinates of one: {there}"
    raise InputError("networks", _words(group, coordinates), remedy)


def _words(group: str, coordinates: Mapping[str, Coordinate]) -> str:
    words = [f"group={group!r}"] if group != MAIN else []
    return ", ".join([*words, *(f"{name}={value!r}" for name, value in coordinates.items())]) or "no coordinates"


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
