"""What changed between two readings of runs that go on."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bathymetry.core.showing import joined, plural
from bathymetry.runs.laid import histories
from bathymetry.runs.pairs import Pair

if TYPE_CHECKING:
    from bathymetry.runs.comparing import Comparison


def changes(before: "Comparison", now: "Comparison") -> str:
    """Say which runs are new, went on, finished or crashed, and which verdicts changed; empty where nothing did."""
    old, new = _runs(before), _runs(now)
    counts: Counter[tuple[str, str]] = Counter()
    for name, (status, step, numbers) in new.items():
        if name not in old:
            counts["is new", "are new"] += 1
        elif old[name][0] != status:
            counts[f"is {status} now", f"are {status} now"] += 1
        elif old[name][1] != step:
            counts["went on", "went on"] += 1
        elif old[name][2] != numbers:
            counts["has other numbers", "have other numbers"] += 1
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
    if not words and repr(before.to_dict()) != repr(now.to_dict()):
        return "the notes on the runs changed"
    return joined(words)


def _runs(found: "Comparison") -> dict[Any, tuple[str, float, bytes]]:
    """Each run's status, last step and numbers, by settings and member, or by name where each run is one."""
    results = found.results
    status, names = results["status"], results["run"].values
    steps = [results[f"{one}_last_step"].transpose(*status.dims).values for one in found.metrics]
    numbers = _numbers(found)
    last = np.nan_to_num(steps, nan=-1.0).max(axis=0)
    axes = [results[dim].values.tolist() for dim in status.dims]
    by_name = results.attrs["members"] == "run"
    runs = {}
    for index in np.ndindex(*status.shape):
        place = tuple(values[k] for values, k in zip(axes, index, strict=True))
        if status.values[index] != "missing":
            runs[str(names[index]) if by_name else place] = (
                str(status.values[index]),
                float(last[index]),
                numbers[index],
            )
    return runs


def _numbers(found: "Comparison") -> dict[tuple[int, ...], bytes]:
    """What each run logged of all metrics; where only some steps are there, its values that count."""
    results = found.results
    outer = results["status"].dims
    numbers: dict[tuple[int, ...], bytes] = {}
    for metric in found.metrics:
        for index, value in np.ndenumerate(results[metric].transpose(*outer).values):
            numbers[index] = numbers.get(index, b"") + value.tobytes()
        if "thinned" not in results[f"{metric}_history"].attrs:
            for index, logged in histories(results, metric):
                numbers[index] += logged.step.tobytes() + logged.value.tobytes()
    return numbers


def _key(one: Pair) -> tuple[Any, ...]:
    return one.first, one.second, tuple(one.at.items())


def _name(one: Pair) -> str:
    at = ", ".join(one.at.values())
    return f"{one.first} and {one.second}{f' at {at}' if at else ''}"


def _outcome(one: Pair | None) -> str:
    if one is None or one.decision == "undecided":
        return "undecided" if one is not None else "no runs"
    return f"{one.first if one.decision == 'supported' else one.second} is better"
