"""Stored results with the study that they are of, perhaps those of another version.

Nothing that is stored leads to code: studies that come with Bathymetry are known by name, any other is run only when
the caller names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathymetry.core.errors import InputError, StorageError
from bathymetry.core.showing import joined
from bathymetry.execution.study_run import StudyRun, put_together
from bathymetry.execution.work import compare
from bathymetry.store.folder import is_output_folder
from bathymetry.store.results import RESULT, read_results
from bathymetry.store.storage import Place, exists, names, place_of
from bathymetry.studies import Study, find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.sweeps.sweep import Sweep


def load_study(folder: str | Place, study: str | Path | type[Study] | None = None) -> StudyRun:
    """Read a study's stored results.

    Args:
        folder: Its folder inside the output folder, `OUT/STUDY`, or such an address.
        study: The study that they are of, needed where it does not come with Bathymetry: the Python file that defines
            it, which is run; the name under which a package offers it; or its class.

    Returns:
        The study with its results.

    Raises:
        InputError: If the study does not come with Bathymetry and none is named, or another one is.
    """
    folder = place_of("folder", folder)
    if is_output_folder(folder):
        inside = [folder / name for name in names(folder) if exists(folder / name / RESULT)]
        remedy = f"expected the folder of one study, such as {inside[0]}" if inside else "it holds no results yet"
        raise InputError("folder", folder, remedy)
    if not exists(folder):
        raise InputError("folder", folder, "there is no such folder")
    if not exists(folder / RESULT):
        raise InputError("folder", folder, f"it holds no {RESULT}; expected the folder of one study, OUT/STUDY")
    results = read_results(folder / RESULT)
    name = str(results.attrs.get("study"))
    if is_sweep(results.attrs):
        settings, results.attrs = understood(Sweep, results.attrs)
        return StudyRun(settings, results, folder.parent)
    if study is None and name not in SHIPPED:
        remedy = "it does not come with Bathymetry and stored results run no code; name its file: study=FILE"
        raise InputError("study", name, remedy)
    kind = study if isinstance(study, type) else find(name if study is None else study)
    if kind.name != name:
        raise InputError("study", kind.name, f"the results in {folder} are those of {name}")
    settings, results.attrs = understood(kind, results.attrs)
    return StudyRun(settings, results, folder.parent)


def is_sweep(attributes: Mapping[Any, Any]) -> bool:
    """Whether stored results are those of a sweep, whose specification they hold."""
    return attributes.get("found_as") == Sweep.location


def rebuild_study(study: type[Study], settings: Mapping[str, Any], out: Place) -> StudyRun:
    """Put a study's results together again from its stored chunks, without training; the caller holds the folder."""
    try:
        one = study(**with_data_seed(study, settings))
    except InputError as error:
        raise StorageError(f"The settings of {study.name} can't be read again: run the study again.") from error
    work = compare(out, one.planned, read=True)
    if not work.refresh(out):
        raise StorageError(f"Chunks of {study.name} are missing: run the study again, and only those are trained.")
    return put_together(one, work, out)


def understood(study: type[Study], attributes: Mapping[Any, Any]) -> tuple[Study, dict[str, Any]]:
    """Read a study's settings and the attributes of its results, with a note for each setting unknown or missing."""
    stored = {**attributes}
    given = with_data_seed(study, _mapping(stored.get("settings")))
    fields = study.model_fields
    try:
        own = {name: given[name] for name in fields if name in given}
        settings = study.stored(**own) if issubclass(study, Sweep) else study(**own)
    except InputError as error:
        what = str(error).rstrip(".")
        remedy = "use the version that stored them, or run the study again"
        raise StorageError(
            f"The stored settings of {attributes.get('study')} are none that this version knows ({what}): {remedy}."
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
        "study": settings.name,
        "settings": settings.model_dump(mode="json"),
        "notes": notes,
        "data": {str(name): str(origin) for name, origin in _mapping(stored.get("data")).items()},
        "provenance": _mapping(stored.get("provenance")),
    }


def with_data_seed(study: type[Study], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were stored before there was a data seed, when the seed drew the data as well."""
    is_earlier = "data_seed" in study.model_fields and "seed" in settings
    return ({"data_seed": settings["seed"]} if is_earlier else {}) | dict(settings)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
