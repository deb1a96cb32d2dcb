"""Stored results together with the study that they are of. Nothing that is stored leads to code.

The studies that come with Bathymetry are known by their names. Any other is code of somebody's, which is run only when
the caller names it: results that came from elsewhere can't make it run by what stands in them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bathymetry.core.errors import InputError, StorageError, path_of
from bathymetry.execution.run import RESULT, StudyRun, put_together
from bathymetry.execution.work import inspect
from bathymetry.store import read_results
from bathymetry.studies.catalogue import find, shipped
from bathymetry.studies.study import Study
from bathymetry.studies.wording import joined


def load_study(folder: Path | str, study: str | Path | Study | None = None) -> StudyRun:
    """Read a study's stored results.

    Args:
        folder: Its folder inside the output folder, `OUT/STUDY`.
        study: The study that they are of, needed where it does not come with Bathymetry: the Python file that defines
            it, which is run; the name under which a package offers it; or the study itself.

    Returns:
        The study with its results.

    Raises:
        InputError: If the study does not come with Bathymetry and none is given, or another one is.
    """
    folder = path_of("folder", folder)
    results = read_results(folder / RESULT)
    name = results.attrs.get("study")
    if study is None:
        one = {one.name: one for one in shipped()}.get(str(name))
        if one is None:
            remedy = "it does not come with Bathymetry and stored results run no code; name its file: study=FILE"
            raise InputError("study", name, remedy)
    else:
        one = study if isinstance(study, Study) else find(study)
        if one.name != name:
            raise InputError("study", one.name, f"the results in {folder} are those of {name}")
    results.attrs = understood(one, results.attrs)
    found_as = one.name if study is None or isinstance(study, Study) else str(study)
    return StudyRun(one, results, folder.parent, found_as)


def rebuild_study(study: Study, settings: Mapping[str, Any], out: Path) -> StudyRun:
    """Put a study's results together again from its stored units, without training.

    Args:
        study: The study.
        settings: Those that its results had.
        out: The output folder, which the caller holds.

    Returns:
        The study with its results, which are stored in the place of those that were.

    Raises:
        StorageError: If some of its units are not stored or damaged.
    """
    try:
        one = study.settings.model_validate(dict(settings))
    except ValidationError as error:
        raise StorageError(f"The settings of {study.name} can't be read again: run the study again.") from error
    plan = study.plan(one)
    work = inspect(out, plan)
    if work.units or work.joints:
        raise StorageError(f"Units of {study.name} are missing: run the study again, and only those are trained.")
    return put_together(study, one, plan, work, out, study.name)


def understood(study: Study, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Read what stands beside results, as far as this version knows it.

    Args:
        study: The study that they are of.
        attributes: What was stored, perhaps by another version.

    Returns:
        The same with settings that the study has, and a note for each that it does not know or that is missing.

    Raises:
        StorageError: If the settings are none that the study can have.
    """
    stored = {**attributes}
    given = _mapping(stored.get("settings"))
    fields = study.settings.model_fields
    try:
        settings = study.settings.model_validate({name: given[name] for name in fields if name in given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        remedy = "use the version that stored them, or run the study again"
        raise StorageError(
            f"The stored settings of {study.name} are none that this version knows ({what}): {remedy}."
        ) from error
    notes = [str(one) for one in stored["notes"]] if isinstance(stored.get("notes"), list) else []
    unknown = [str(name) for name in given if name not in fields]
    missing = [name for name in fields if name not in given]
    if unknown:
        notes.append(f"Another version stored these results; this one does not know their config {joined(unknown)}.")
    if missing:
        told = [f"{name} (here {getattr(settings, name)})" for name in missing]
        notes.append(f"Another version stored these results without the config {joined(told)}.")
    absent = [name for name in ("data", "provenance") if not isinstance(stored.get(name), dict)]
    if absent:
        notes.append(f"These results were stored without their {joined(absent)}.")
    return stored | {
        "study": study.name,
        "settings": settings.model_dump(mode="json"),
        "notes": notes,
        "data": {str(name): str(origin) for name, origin in _mapping(stored.get("data")).items()},
        "provenance": _mapping(stored.get("provenance")),
    }


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
