"""What changed between two readings of runs that go on."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bathymetry.core.showing import joined, plural
from bathymetry.runs.pairs import Pair

if TYPE_CHECKING:
    from bathymetry.runs.comparing import Comparison


def changes(before: "Comparison", now: "Comparison") -> str:
    """Say which runs are new, went on, finished or crashed, and which verdicts changed; empty where nothing did."""
    old, new = _runs(before), _runs(now)
    counts: Counter[tuple[str, str]] = Counter()
    for name, (status, step) in new.items():
        if name not in old:
            counts["is new", "are new"] += 1
        elif old[name][0] != status:
            counts[f"is {status} now", f"are {status} now"] += 1
        elif old[name][1] != step:
            counts["went on", "went on"] += 1
    gone = len(old.keys() - new.keys())
    if gone:
        counts["is gone", "are gone"] += gone
    words = [f"{count:,} {plural('run', count)} {verbs[count != 1]}" for verbs, count in counts.items()]
    claims = {one.id: one.verdict.decision for one in before.stated}
    words += [
        f"{one.id}: {claims.get(one.id, 'new')} → {one.verdict.decision}"
        for one in now.stated
        if claims.get(one.id) != one.verdict.decision
    ]
    verdicts = {_key(one): one for one in before.pairs}
    for one in now.pairs:
        then = verdicts.get(_key(one))
        if then is None or then.decision != one.decision:
            words.append(f"{_name(one)}: {_outcome(then)} → {_outcome(one)}")
    return joined(words)


def _runs(found: "Comparison") -> dict[Any, tuple[str, float]]:
    """Each run's status and last step, by its settings and member, or by its name where each run is a member."""
    results = found.results
    status, names = results["status"], results["run"].values
    steps = [results[f"{one}_last_step"].transpose(*status.dims).values for one in found.metrics]
    last = np.nan_to_num(steps, nan=-1.0).max(axis=0)
    axes = [results[dim].values.tolist() for dim in status.dims]
    by_name = results.attrs["members"] == "run"
    runs = {}
    for index in np.ndindex(*status.shape):
        place = tuple(values[k] for values, k in zip(axes, index, strict=True))
        if status.values[index] != "missing":
            runs[str(names[index]) if by_name else place] = (str(status.values[index]), float(last[index]))
    return runs


def _key(one: Pair) -> tuple[Any, ...]:
    return one.first, one.second, tuple(one.at.items())


def _name(one: Pair) -> str:
    at = ", ".join(one.at.values())
    return f"{one.first} and {one.second}{f' at {at}' if at else ''}"


def _outcome(one: Pair | None) -> str:
    if one is None or one.decision == "undecided":
        return "undecided" if one is not None else "no runs"
    return f"{one.first if one.decision == 'supported' else one.second} is better"
