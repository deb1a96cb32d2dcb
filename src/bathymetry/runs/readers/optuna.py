"""Optuna: studies in a SQLite database, or in the journal file of `JournalFileBackend`. A trial is a run.

The objective is the metric "value", those of several objectives "value_0", "value_1", …, and what a trial reported is
"intermediate_value". A pruned trial did not run to its end, so it counts as one that is not finished.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bathymetry.core.errors import DamagedError, first_line
from bathymetry.runs import sqlite
from bathymetry.runs.run import Direction, Format, History, Layout, Run, Status, Unit, flat, history

_TABLES = {"studies": ("study_id", "study_name"), "trials": ("trial_id", "study_id", "state"), "trial_params": ()}
_JOURNAL = b'{"op_code":'
_SUFFIXES = {".log", ".journal", ".jsonl", ".txt", ""}  # that are looked into; a file that is named always is
_STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")  # by their number in a journal
_STATUS: Mapping[str, Status] = {
    "RUNNING": "running", "COMPLETE": "finished", "PRUNED": "crashed", "FAIL": "crashed",
}  # fmt: skip
_DIRECTIONS: Mapping[Any, Direction] = {"MINIMIZE": "lower", "MAXIMIZE": "higher", 1: "lower", 2: "higher"}
_VALUES = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}  # which SQL can't say


@dataclass
class _Trial:
    study: object
    number: int
    state: str = "RUNNING"
    params: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    values: dict[int, float] = field(default_factory=dict)  # by objective
    reported: dict[float, float] = field(default_factory=dict)  # by step
    notes: list[str] = field(default_factory=list)
    directions: Mapping[int, Any] = field(default_factory=dict)  # of the study, by objective


def _units(root: Path, files: Sequence[Path]) -> list[Unit]:
    journals = [
        Unit(os.path.relpath(file, root), (file,))
        for file in files
        if (len(files) == 1 or file.suffix.lower() in _SUFFIXES) and sqlite.start(file, len(_JOURNAL)) == _JOURNAL
    ]
    return sqlite.units_with(root, files, _TABLES) + journals


def _read(unit: Unit, _: Layout) -> list[Run]:
    journal = sqlite.start(unit.files[0], len(_JOURNAL)) == _JOURNAL
    trials = _read_journal(unit) if journal else _read_database(unit)
    try:
        return [_run(one) for one in trials]
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"{unit.name} can't be read as Optuna ({first_line(error)}).") from error


def _run(trial: _Trial) -> Run:
    steps = sorted(trial.reported)
    metrics: dict[str, History] = {}
    if steps:
        metrics["intermediate_value"] = history(steps, [_number(trial.reported[step]) for step in steps])
    for objective, value in trial.values.items():
        name = f"value_{objective}" if len(trial.values) > 1 else "value"
        metrics[name] = history([steps[-1] if steps else 0], [_number(value)])
    attributes = {f"user_attrs.{name}": value for name, value in trial.attributes.items()}
    config = flat({"study": trial.study} | attributes | trial.params)
    notes = (*(["pruned"] if trial.state == "PRUNED" else []), *trial.notes)
    better = {}
    for objective, stored in trial.directions.items():
        if stored in _DIRECTIONS:
            names = [f"value_{objective}"] if len(trial.directions) > 1 else ["value", "intermediate_value"]
            better.update(dict.fromkeys(names, _DIRECTIONS[stored]))
    status = _STATUS.get(trial.state, "unknown")
    return Run(f"{trial.study}/{trial.number}", config, metrics, status, notes, directions=better)


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    if value is None:  # as NaN is stored in databases before Optuna 3
        return math.nan
    raise ValueError(f"expected a number, found {str(value)[:40]!r}")


def _outside(value: object, distribution: object) -> Any:
    """Turn a parameter as it is stored into what the trial got: whole numbers, and choices by their place."""
    about = json.loads(distribution) if isinstance(distribution, str | bytes) else distribution
    if not isinstance(about, dict):
        raise ValueError(f"expected a distribution, found {str(about)[:40]!r}")
    kind = str(about.get("name", about.get("type", ""))).lower()
    if "categorical" in kind:
        choices = about.get("attributes", about).get("choices")
        place = int(_number(value))
        if not isinstance(choices, list) or not 0 <= place < len(choices):
            raise ValueError(f"there is no choice {place}")
        return choices[place]
    return int(_number(value)) if kind.startswith("int") else _number(value)


def _read_database(unit: Unit) -> list[_Trial]:
    with sqlite.opened(unit) as database:
        studies = dict(database.rows("studies", "study_id", "study_name"))
        directions: dict[Any, dict[int, Any]] = {}
        for study, objective, direction in database.rows("study_directions", "study_id", "objective", "direction"):
            directions.setdefault(study, {})[objective] = direction
        trials = {
            key: _Trial(
                studies.get(study, study),
                number if number is not None else key,
                str(state),
                directions=directions.get(study, {}),
            )
            for key, number, study, state in database.rows("trials", "trial_id", "number", "study_id", "state")
        }
        for key, name, value, distribution in database.rows(
            "trial_params", "trial_id", "param_name", "param_value", "distribution_json"
        ):
            if key in trials:
                trials[key].params[str(name)] = _outside(value, distribution)
        for key, name, value in database.rows("trial_user_attributes", "trial_id", "key", "value_json"):
            if key in trials:
                trials[key].attributes[str(name)] = json.loads(value)
        for key, objective, value, kind in database.rows(
            "trial_values", "trial_id", "objective", "value", "value_type"
        ):
            if key in trials:
                trials[key].values[objective] = _VALUES.get(kind, value)
        for key, step, value, kind in database.rows(
            "trial_intermediate_values", "trial_id", "step", "intermediate_value", "intermediate_value_type"
        ):
            if key in trials:
                trials[key].reported[_number(step)] = _VALUES.get(kind, value)
    return [one for one in trials.values() if one.state != "WAITING"]


def _read_journal(unit: Unit) -> list[_Trial]:
    """Repeat what a journal says was done, one JSON object a line."""
    state = _Journal()
    content = unit.files[0].read_bytes()
    end = content.rfind(b"\n") + 1
    for k, line in enumerate(content[:end].splitlines(), start=1):
        try:
            entry = json.loads(line)
            action = _ACTIONS.get(entry["op_code"])
            if action is not None:
                action(state, entry)
        except KeyError as error:
            raise DamagedError(f"{unit.name} can't be read as Optuna (line {k}: no {error.args[0]}).") from error
        except (ValueError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            raise DamagedError(f"{unit.name} can't be read as Optuna (line {k}: {first_line(error)}).") from error
    trials = [one for own in state.trials_of.values() for one in own if one.state != "WAITING"]
    if end < len(content) and trials:
        trials[-1].notes.append("the last line of the journal is not whole and is left out")
    return trials


class _Journal:
    """Studies and trials by their numbers, which a journal counts and does not write."""

    def __init__(self) -> None:
        self.studies: list[str] = []
        self.directions: list[dict[int, Any]] = []
        self.trials: list[_Trial] = []
        self.trials_of: dict[int, list[_Trial]] = {}

    def create_study(self, entry: Mapping[str, Any]) -> None:
        existing = [self.studies[study] for study in self.trials_of]
        if entry["study_name"] not in existing:  # two processes may both create it
            self.trials_of[len(self.studies)] = []
            self.studies.append(entry["study_name"])
        self.directions.append(dict(enumerate(entry.get("directions") or [])))

    def delete_study(self, entry: Mapping[str, Any]) -> None:
        self.trials_of.pop(entry["study_id"], None)

    def create_trial(self, entry: Mapping[str, Any]) -> None:
        study = entry["study_id"]
        if study not in self.trials_of:
            return
        own = self.trials_of[study]
        trial = _Trial(self.studies[study], len(own), _STATES[entry.get("state", 0)], directions=self.directions[study])
        distributions = entry.get("distributions") or {}
        trial.params = {
            name: _outside(value, distributions[name]) for name, value in (entry.get("params") or {}).items()
        }
        trial.attributes = dict(entry.get("user_attrs") or {})
        trial.reported = {float(step): value for step, value in (entry.get("intermediate_values") or {}).items()}
        trial.values = _of_objectives(entry)
        own.append(trial)
        self.trials.append(trial)

    def set_param(self, entry: Mapping[str, Any]) -> None:
        for trial in self._changeable(entry):
            trial.params[entry["param_name"]] = _outside(entry["param_value_internal"], entry["distribution"])

    def set_state(self, entry: Mapping[str, Any]) -> None:
        for trial in self._changeable(entry):
            trial.state = _STATES[entry["state"]]
            trial.values = _of_objectives(entry) or trial.values

    def set_intermediate_value(self, entry: Mapping[str, Any]) -> None:
        for trial in self._changeable(entry):
            trial.reported[_number(entry["step"])] = entry["intermediate_value"]

    def set_attribute(self, entry: Mapping[str, Any]) -> None:
        for trial in self._changeable(entry):
            trial.attributes |= entry["user_attr"]

    def _changeable(self, entry: Mapping[str, Any]) -> list[_Trial]:
        """Find the trial, unless it has ended: of two processes that end one, the first counts."""
        own = self.trials[entry["trial_id"] : entry["trial_id"] + 1]
        return [one for one in own if one.state in ("RUNNING", "WAITING")]


def _of_objectives(entry: Mapping[str, Any]) -> dict[int, float]:
    values = entry.get("values")
    if values is None and entry.get("value") is not None:
        values = [entry["value"]]
    return dict(enumerate(values or []))


_ACTIONS: Mapping[int, Callable[[_Journal, Mapping[str, Any]], None]] = {
    0: _Journal.create_study,
    1: _Journal.delete_study,
    4: _Journal.create_trial,
    5: _Journal.set_param,
    6: _Journal.set_state,
    7: _Journal.set_intermediate_value,
    8: _Journal.set_attribute,
}

FORMAT = Format("Optuna", _units, _read, wanted="Optuna's database or journal file")
