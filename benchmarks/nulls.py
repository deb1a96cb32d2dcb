"""How often each rule decides where the claim and its opposite are equally true, and where there is a difference.

    nice python benchmarks/nulls.py [SIMULATIONS]

10,000 simulations of every rule, number of members and sort of data; four minutes on one core. Writes
docs/nulls.json, and from it the tables of docs/statistics.md. The package's tests decide many simulations at a time;
tests/stats/test_nulls.py compares these decisions with those of the rules, and repeats the simulations with the rules.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy import stats

from bathymetry.stats.rank_correlation import correlated
from bathymetry.stats.rank_tests import brunner_munzel, compared

ROOT = Path(__file__).parents[1]
STORED, PAGE = ROOT / "docs" / "nulls.json", ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- nulls -->\n", "<!-- end of nulls -->"
MEMBERS = (6, 10, 20)
SPREAD = 5  # of every second group, or every second member
FAR = 1e9

Values = np.ndarray  # (simulation, group, member)
Decisions = np.ndarray  # 1 supported, −1 contradicted, 0 undecided


def drawn(kind: str, rng: np.random.Generator, simulations: int, groups: int, members: int) -> Values:
    """Draw numbers with median 0, the same distribution in each group but for its spread."""
    shape = (simulations, groups, members)
    match kind:
        case "heavy tails":
            return rng.standard_cauchy(shape)
        case "skewed":
            return rng.exponential(size=shape) - np.log(2)
        case "ties":
            return np.floor(rng.normal(size=shape)) + 0.5
        case "ties with the line":
            return np.rint(rng.normal(size=shape))
        case "spreads 1 : 5":
            place = np.indices(shape[1:])[0 if groups > 1 else 1]
            return rng.normal(size=shape) * np.where(place % 2, SPREAD, 1)
    return rng.normal(size=shape)


def paired(kind: str, rng: np.random.Generator, simulations: int, groups: int, members: int) -> Values:
    """Draw two numbers of each member without a rank correlation."""
    values = drawn("normal" if kind in ("spreads 1 : 5", "dependent") else kind, rng, simulations, groups, members)
    if kind == "spreads 1 : 5":
        values[:, 1] *= np.where(values[:, 0] > 0, SPREAD, 1)
    if kind == "dependent":
        values[:, 1] = values[:, 0] * rng.choice([-1, 1], size=values[:, 0].shape)
    return values


def decided(p: np.ndarray, direction: np.ndarray, level: float = 0.05) -> Decisions:
    return np.where(p < level, np.sign(direction), 0).astype(int)


def by_sign(values: Values) -> Decisions:
    """The majority of members above 0, or the sign of the median."""
    above, below = (values[:, 0] > 0).sum(1), (values[:, 0] < 0).sum(1)
    return decided(2 * stats.binom.sf(np.maximum(above, below) - 1, values.shape[2], 0.5), above - below)


def in_interval(low: float, high: float) -> Callable[[Values], Decisions]:
    def decisions(values: Values) -> Decisions:
        members, median = values.shape[2], np.median(values[:, 0], 1)
        inside = (low <= median) & (median <= high)
        outside = np.maximum((values[:, 0] < low).sum(1), (values[:, 0] > high).sum(1))
        count = np.where(inside, members - outside, outside)
        return decided(2 * stats.binom.sf(count - 1, members, 0.5), np.where(inside, 1, -1))

    return decisions


def order(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test (simulation, member) against the same: p, and which is above; equal patterns of ties together."""
    pooled, p, ahead = np.concatenate([a, b], 1), np.ones(len(a)), np.zeros(len(a))
    by_pattern: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for place, numbers in enumerate(pooled):
        level, counts = np.unique(numbers, return_inverse=True, return_counts=True)[1:]
        first = np.bincount(level[: a.shape[1]], minlength=len(counts))
        by_pattern.setdefault(tuple(counts.tolist()), []).append((place, first))
    for pattern, rows in by_pattern.items():
        places = [place for place, _ in rows]
        statistic, _, p[places], _ = compared(np.stack([first for _, first in rows]), np.array(pattern))
        ahead[places] = -statistic  # A comes before B: is below
    return p, ahead


def best_of(candidates: int) -> Callable[[Values], Decisions]:
    """The first groups are the candidates: one of them above each other group."""

    def decisions(values: Values) -> Decisions:
        others = values.shape[1] - candidates
        pairs = [[order(values[:, i], values[:, candidates + j]) for j in range(others)] for i in range(candidates)]
        p, ahead = np.moveaxis(np.array(pairs), 2, 0)  # (candidate, other, simulation)
        wins = ((p < 0.05 / candidates) & (ahead > 0)).all(1).any(0)
        loses = ((p < 0.05 / others) & (ahead < 0)).all(0).any(0)
        return wins.astype(int) - loses

    return decisions


def far_behind(values: Values) -> Values:
    """The last group, and of two candidates the second, far behind."""
    behind = [-1] if values.shape[1] == 3 else [1, 3]
    values[:, behind] = -FAR
    return values


def correlation(values: Values) -> Decisions:
    p, rho = np.ones(len(values)), np.zeros(len(values))
    by_pattern: dict[tuple[tuple[int, ...], ...], list[tuple[int, np.ndarray]]] = {}
    for place, (x, y) in enumerate(values):
        along = np.argsort(x, kind="stable")
        where = np.argsort(np.argsort(y[along], kind="stable"))
        patterns = tuple(tuple(np.unique(one, return_counts=True)[1].tolist()) for one in (x, y))
        by_pattern.setdefault(patterns, []).append((place, where))
    for (first, second), rows in by_pattern.items():
        places = [place for place, _ in rows]
        rho[places], _, p[places] = correlated(first, second, np.stack([where for _, where in rows]))
    return decided(p, rho)


def t_test(values: Values) -> Decisions:
    test = stats.ttest_1samp(values[:, 0], 0.0, axis=1)
    return decided(test.pvalue, test.statistic)


def mann_whitney(values: Values) -> Decisions:
    is_tied = len(np.unique(values[0])) < values[0].size
    test = stats.mannwhitneyu(*values.swapaxes(0, 1), axis=1, method="asymptotic" if is_tied else "exact")
    return decided(test.pvalue, test.statistic - values.shape[2] ** 2 / 2)


SORTS = ("normal", "spreads 1 : 5", "heavy tails", "ties", "ties with the line", "skewed", "dependent")
ONE = tuple(kind for kind in SORTS if kind != "dependent")
GROUPS = tuple(kind for kind in ONE if kind != "ties with the line")
Draw = Callable[[str, np.random.Generator, int, int, int], Values]
RULES: Mapping[str, tuple[Draw, int, Callable[[Values], Decisions], tuple[str, ...]]] = {
    "majority": (drawn, 1, by_sign, GROUPS),
    "stochastic order": (drawn, 2, lambda values: decided(*order(values[:, 0], values[:, 1])), GROUPS),
    "best of, 1 of 3": (drawn, 3, best_of(1), GROUPS),
    "best of, 1 of 3, one far behind": (lambda *of: far_behind(drawn(*of)), 3, best_of(1), GROUPS),
    "best of, 2 of 4": (drawn, 4, best_of(2), GROUPS),
    "best of, 2 of 4, two far behind": (lambda *of: far_behind(drawn(*of)), 4, best_of(2), GROUPS),
    "median sign": (drawn, 1, by_sign, ONE),
    "median in interval, at its edge": (drawn, 1, in_interval(0.0, np.inf), GROUPS),
    "correlation": (paired, 2, correlation, (*GROUPS, "dependent")),
    "for comparison: t test of the mean": (
        lambda *of: drawn(*of) - (of[0] == "skewed") * (1 - np.log(2)),
        1,
        t_test,
        GROUPS,
    ),
    "for comparison: Mann–Whitney": (drawn, 2, mann_whitney, GROUPS),
}


def shifted(rng: np.random.Generator, simulations: int, groups: int, members: int) -> Values:
    """Normal numbers of which the first group is one standard deviation above the others."""
    values = rng.normal(size=(simulations, groups, members))
    values[:, 0] += 1
    return values


def related(rng: np.random.Generator, simulations: int, groups: int, members: int) -> Values:
    values = rng.normal(size=(simulations, groups, members))
    values[:, 1] += values[:, 0]
    return values


Shift = Callable[[np.random.Generator, int, int, int], Values]
POWER: Mapping[str, tuple[Shift, int, Callable[[Values], Decisions], int]] = {  # the last: the decision that is right
    "majority, of the 84 % above a line one below the mean": (shifted, 1, by_sign, 1),
    "stochastic order": (shifted, 2, RULES["stochastic order"][2], 1),
    "best of, 1 of 3": (shifted, 3, best_of(1), 1),
    "median sign": (shifted, 1, by_sign, 1),
    "median in interval, one outside": (shifted, 1, in_interval(-np.inf, 0.0), -1),
    "median in interval, one from both edges": (shifted, 1, in_interval(0.0, 2.0), 1),
    "correlation, y = x + noise (ρ = 0.69)": (related, 2, correlation, 1),
    "for comparison: t test of the mean": (shifted, 1, t_test, 1),
    "for comparison: Mann–Whitney": (shifted, 2, mann_whitney, 1),
}


def members_of(rule: str) -> tuple[int, ...]:
    return (20,) if rule.startswith("correlation") else MEMBERS


def simulated(simulations: int) -> dict[str, object]:
    """Count decisions: of nulls [supported, contradicted], of differences those that are found."""
    nulls: dict[str, dict[str, dict[str, list[int]]]] = {}
    for rule, (draw, groups, decide, kinds) in RULES.items():
        for kind in kinds:
            for members in members_of(rule):
                rng = np.random.default_rng(crc32(f"{rule} {kind} {members}".encode()))
                found = decide(draw(kind, rng, simulations, groups, members))
                counts = [int((found == side).sum()) for side in (1, -1)]
                nulls.setdefault(rule, {}).setdefault(kind, {})[str(members)] = counts
                sys.stdout.write(f"{rule}, {kind}, {members}: {counts}\n")
                sys.stdout.flush()
    power: dict[str, dict[str, int]] = {}
    for rule, (shift, groups, decide, right) in POWER.items():
        for members in members_of(rule):
            rng = np.random.default_rng(crc32(f"power {rule} {members}".encode()))
            found = decide(shift(rng, simulations, groups, members))
            power.setdefault(rule, {})[str(members)] = int((found == right).sum())
    return {"simulations": simulations, "nulls": nulls, "power": power, "limits": limits(simulations)}


AROUND = ((6, 6), (7, 6), (7, 20), (8, 6), (10, 10), (20, 20), (30, 30), (50, 50))  # members of A and B
THRICE = ((6, 6), (6, 10), (6, 12), (10, 20), (20, 60))


def around(first: int, second: int) -> float:
    """The share of decisions, exactly, where A has half of its members below all of B and half above: θ = ½."""
    b = np.arange(second)
    shares = stats.binom.pmf(np.arange(first + 1), first, 0.5)
    groups = [
        np.where(np.arange(first) < above, second + 1, -1) + np.arange(first) * 1e-3 for above in range(first + 1)
    ]
    return float(sum(share for share, a in zip(shares, groups, strict=True) if brunner_munzel(a, b).p < 0.05))


def thrice(first: int, second: int, simulations: int) -> float:
    """The share of decisions between normal groups of which A spreads three times as widely."""
    rng = np.random.default_rng(crc32(f"thrice {first} {second}".encode()))
    a, b = 3 * rng.normal(size=(simulations, first)), rng.normal(size=(simulations, second))
    return float((order(a, b)[0] < 0.05).mean())


def limits(simulations: int) -> dict[str, dict[str, float]]:
    """Nulls at which a stochastic order is decided in more than 5 %."""
    return {
        "half of A below all of B, half above (exact)": {f"{m} and {n}": round(around(m, n), 4) for m, n in AROUND},
        "normal, A spreads three times as widely": {
            f"{m} and {n}": round(thrice(m, n, 4 * simulations), 4) for m, n in THRICE
        },
    }


def of_limits(stored: Mapping[str, object]) -> list[str]:
    lines = ["", "Limits of stochastic order: neither tends to come first, and so many of 100 are decided.", ""]
    lines += ["| null | members of A and B | decided |", "|---|---|---|"]
    for null, shares in stored["limits"].items():
        lines += [f"| {null} | {members} | {100 * share:.1f} |" for members, share in shares.items()]
    return lines


def tables(stored: Mapping[str, object]) -> str:
    """Write both tables in Markdown."""
    total, nulls, power = (stored[name] for name in ("simulations", "nulls", "power"))
    lines = [f"| rule | members | {' | '.join(SORTS)} |", f"|---|---|{'---|' * len(SORTS)}"]
    for rule, kinds in nulls.items():
        for members in members_of(rule):
            cells = [kinds.get(kind, {}).get(str(members)) for kind in SORTS]
            words = [f"{100 * sum(one) / total:.1f} ({100 * one[0] / total:.1f})" if one else "" for one in cells]
            lines.append(f"| {rule} | {members} | {' | '.join(words)} |")
    lines += ["", "One standard deviation, normal data: found in so many of 100 runs.", ""]
    lines += [f"| rule | {' | '.join(f'{members} members' for members in MEMBERS)} |", f"|---|{'---|' * len(MEMBERS)}"]
    for rule, counts in power.items():
        words = [f"{100 * counts[str(n)] / total:.0f}" if str(n) in counts else "" for n in MEMBERS]
        lines.append(f"| {rule} | {' | '.join(words)} |")
    lines += of_limits(stored)
    return "\n".join(lines) + "\n"


def with_tables(page: str, stored: Mapping[str, object]) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{tables(stored)}{END}{rest.partition(END)[2]}"


def main(simulations: int) -> None:
    """Simulate, and write the results and the tables."""
    stored = simulated(simulations)
    STORED.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), stored), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
