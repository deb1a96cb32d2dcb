"""What was run: each study's settings told by the preset that they come from, and held against the reference run's."""

from collections.abc import Sequence
from typing import Any

from bathymetry.execution import StudyRun
from bathymetry.studies import PRESETS, Preset, StudySettings, joined
from bathymetry.studies.kept import kept_verdicts
from bathymetry.studies.wording import field_name, shown

_FREE = ("seed", "device")  # settings that say nothing of how much was run


def settings_of(run: StudyRun) -> StudySettings:
    """Read the settings that a run had.

    Args:
        run: The run.

    Returns:
        The settings.
    """
    return run.study.settings.model_validate(run.results.attrs["settings"])


def differences(settings: StudySettings, preset: str) -> dict[str, Any]:
    """Find in which fields settings differ from a preset.

    Args:
        settings: The settings.
        preset: The preset's name.

    Returns:
        The fields that differ, with the values of these settings.
    """
    usual = type(settings).preset(preset).model_dump()
    return {field: value for field, value in settings.model_dump().items() if value != usual[field]}


def nearest_preset(settings: StudySettings, rather: Sequence[str] = PRESETS) -> tuple[str, dict[str, Any]]:
    """Find the preset that settings differ from in the fewest fields.

    Args:
        settings: The settings.
        rather: All presets, those first that are taken where several are as near.

    Returns:
        The preset, and the fields that differ.
    """
    return min(((name, differences(settings, name)) for name in rather), key=lambda one: len(one[1]))


def common_first(runs: Sequence[StudyRun]) -> list[Preset]:
    """Order the presets by how many studies of a page were run with them.

    Args:
        runs: The studies.

    Returns:
        All presets; the one to name where several are the same for a study comes first.
    """
    fitting = [one for run in runs for one in _exact(settings_of(run))]
    return sorted(PRESETS, key=lambda one: -fitting.count(one))


def _exact(settings: StudySettings) -> list[Preset]:
    return [one for one in PRESETS if not differences(settings, one)]


def presets_in_words(runs: Sequence[StudyRun]) -> str:
    """Tell which presets the studies of a page were run with, those with the same together.

    Args:
        runs: The studies.

    Returns:
        A sentence a preset, the most common first, and one for studies whose presets are the same.
    """
    each = {run.study.name: settings_of(run) for run in runs}
    exact, rather = {name: _exact(given) for name, given in each.items()}, common_first(runs)
    groups: dict[str, list[str]] = {}
    for name, given in each.items():
        preset, changes = nearest_preset(given, rather)
        varied = joined([f"{field_name(field)} {shown(value)}" for field, value in changes.items()])
        groups.setdefault(preset, []).append(f"{name} (with {varied})" if changes else name)
    if len(groups) == 1 and len(runs) > 2 and not any("(" in name for names in groups.values() for name in names):
        sentences = [f"Preset {next(iter(groups))} for all {len(runs)} studies."]
    else:
        ranked = sorted(groups.items(), key=lambda one: -len(one[1]))
        sentences = [f"Preset {preset}: {', '.join(names)}." for preset, names in ranked]
    for name, same in exact.items():
        if len(same) > 1:
            sentences.append(f"For {name} the presets {joined(same)} are the same.")
    return " ".join(sentences)


def compared(run: StudyRun) -> str:
    """Say in what the reference run, whose verdicts stand beside those that differ, differs from this one.

    Args:
        run: The run.

    Returns:
        A sentence; empty if there is no reference run, or nothing differs.
    """
    if not any(name.startswith(f"{run.study.name}.") for name in kept_verdicts()):
        return ""
    settings = settings_of(run)
    usual = type(settings).preset("full").model_dump()
    fields = [field for field in differences(settings, "full") if field not in (*_FREE, "data")]
    given = settings.model_dump()
    told = [f"{_amount(usual[field])} {field_name(field)} (here {_amount(given[field])})" for field in fields]
    protocol = run.study.protocol_data
    if protocol is not None and protocol not in run.results.attrs["data"]:
        told.append(f"{protocol} for data (here {joined(list(run.results.attrs['data']))})")
    if not told:
        return ""
    return f"The reference run had {joined(told)}. Where it says otherwise, that may be why."


def _amount(value: Any) -> str:
    # A list of several says how many and what they are, so that it reads before its field's name.
    return f"{len(value)} ({shown(value)})" if isinstance(value, tuple) and len(value) > 1 else shown(value)
