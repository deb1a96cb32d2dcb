"""All words of each rule, compared with one stored text: how it decides, and each outcome with its reason.

`python tests/claims/test_words.py` stores the texts anew; read their differences before you commit them.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bathymetry.claims import best_of, correlation, exists, majority, median_in_interval, median_sign, stochastic_order
from bathymetry.stats.intervals import FISHER, LOG
from bathymetry.stats.verdict import combine, not_run

FOLDER = Path(__file__).parent / "words"
NETWORKS = ["shallow", "deep"]
SIX = np.arange(6.0)
NAN, NEVER = np.full(6, np.nan), np.full(6, np.inf)
THIRTY = np.random.default_rng(0).normal(size=30)


def members(*values):
    return xr.DataArray(np.array(values), dims="member")


def cells(dim, names, *rows):
    """One row of members for each name along an axis, as long as the longest; those that lack are NaN."""
    return xr.concat([members(*row) for row in rows], dim).assign_coords({dim: names})


def of(count, total=6):
    return np.arange(total) < count


def numbers(**variables):
    return xr.Dataset({name: ("member", values) for name, values in variables.items()})


def grid(condition, sign):
    dims, images = ("images", "member"), [500, 1000]
    return xr.Dataset({"condition": (dims, np.array(condition)), "sign": (dims, np.array(sign))}, {"images": images})


FITS = majority("members that fit")
FASTER = stochastic_order("epochs to fit", "deep", "shallow", dim="network", relation="before")
HIGHER = stochastic_order("accuracy", "deep", "shallow", dim="network", relation="above")
SLOPE = median_sign("each member's slope", loss="below", accuracy="above")
SHARE = median_in_interval("test accuracy, 94.5 to 96.5 %", 0.945, 0.965, as_percent=True)
DISTANCE = median_in_interval("distance, −1 to 1", -1.0, 1.0)
RELATED = correlation("the rank correlation of loss and ratio", "loss", "ratio", "above")
FITTED = {"condition": "fit", "sign": "starts", "cell": "cell of images", "named": "{images:,} images"}
FITTED_SOMEWHERE = exists("networks of any size", "contradicted", **FITTED)
BATCH = {"dim": "batch", "relation": "above", "named": "batch {:,}"}
LARGEST = best_of("accuracy", [1500], [5, 25, 125], **BATCH)
EITHER = best_of("accuracy", [125, 1500], [5, 25], **BATCH)
LARGER = best_of("accuracy", [25], [5], **BATCH)


def batches(*rows):
    return cells("batch", [5, 25, 125, 1500][: len(rows)], *rows)


def both(*rows):
    return cells("network", NETWORKS, *rows)


CASES = {
    "majority": [
        ("all", FITS, members(*of(6))),
        ("none", FITS, members(*of(0))),
        ("a bound just above one half", FITS, members(*of(13, 17))),
        ("one too few", FITS, members(*of(5))),
        ("five members", FITS, members(*of(5, 5))),
        ("no members", FITS, members(*of(0, 0))),
        ("all of two cells", FITS.for_each(network=NETWORKS), both(of(6), of(6))),
        ("a cell that was not run", FITS.for_each(network=[*NETWORKS, "wide"]), both(of(6), of(6))),
        ("a cell against it, too few members", FITS.for_each(network=NETWORKS), both(of(0), of(6))),
        ("a cell against it, eight members", FITS.for_each(network=NETWORKS), both(of(0, 8), of(8, 8))),
        ("other cells", FITS.for_each(network=["wide"]), both(of(6), of(6))),
    ],
    "stochastic_order": [
        ("clearly first", FASTER, both(SIX + 10, SIX)),
        ("clearly second", FASTER, both(SIX, SIX + 10)),
        ("alike", FASTER, both(SIX, SIX)),
        ("larger is better", HIGHER, both(SIX, SIX + 10)),
        ("some never did and one diverged", FASTER, both(np.append(NEVER[:5], np.nan), SIX)),
        ("none ever did", FASTER, both(NEVER, NEVER)),
        ("no members", FASTER, both([], [])),
        ("five members", FASTER, both(SIX[:5], SIX[:5] + 10)),
        ("a network that was not run", FASTER, cells("network", ["deep"], SIX)),
        (
            "two functions with one outcome",
            FASTER.for_each(function=None),
            xr.concat([both(SIX + 10, SIX)] * 2, "function").assign_coords(function=["cos", "x*sin(x)"]),
        ),
        (
            "a part against it and one for it",
            FASTER.for_each(function=None),
            xr.concat([both(SIX + 10, SIX), both(SIX, SIX + 2.5)], "function").assign_coords(function=["cos", "x"]),
        ),
    ],
    "best_of": [
        ("ahead of all", LARGEST, batches(SIX, SIX, SIX + 1, SIX + 20)),
        ("above one, below one, and neither", LARGEST, batches(SIX, SIX + 40, SIX + 20, SIX + 20.1)),
        ("behind", LARGEST, batches(SIX + 40, SIX, SIX, SIX + 20)),
        ("one of two", EITHER, batches(SIX, SIX + 10, SIX + 10, SIX + 20)),
        ("both behind", EITHER, batches(SIX + 40, SIX + 40, SIX, SIX)),
        ("one pair", LARGER, batches(SIX, SIX + 10)),
        ("one diverged", LARGER, batches(NAN, SIX)),
        ("no members", LARGER, batches([], [])),
        ("batches that were not run", LARGEST, batches(SIX, SIX)),
    ],
    "median_sign": [
        ("by variable", SLOPE, numbers(loss=-SIX - 1, accuracy=SIX + 1)),
        ("one of two on the other side", SLOPE, numbers(loss=SIX + 1, accuracy=SIX + 1)),
        ("on neither side", median_sign("it"), members(*(SIX - 2.5)).assign_attrs(long_name="slope")),
        ("a correlation", median_sign("it", shown=FISHER), members(*(np.arctanh(0.5) + SIX / 100))),
        ("a ratio in per cent", median_sign("it", shown=LOG, unit=" %"), members(*np.log(SIX + 10))),
        ("a bound near zero", median_sign("it"), members(*(SIX - 0.5363))),
        ("two without a number", median_sign("it"), members(*SIX + 1, np.nan, np.inf)),
        ("none with a number", median_sign("it"), members(*NAN)),
        ("five members", median_sign("it"), members(*SIX[:5] + 1)),
    ],
    "median_in_interval": [
        ("inside", SHARE, members(*(0.955 + SIX / 1000))),
        ("outside", SHARE, members(*(0.9 + SIX / 1000))),
        ("over an edge", SHARE, members(*(0.945 + (SIX - 2.5) / 1000))),
        ("a bound at one", SHARE, members(1.0, 1, 1, 1, 1, 0.97)),
        ("a diverged member", DISTANCE, members(*(SIX / 100), np.nan)),
        ("outside with a diverged member", DISTANCE, members(*(SIX + 9), np.nan)),
        ("all diverged", DISTANCE, members(*NAN)),
        ("five members", DISTANCE, members(*SIX[:5])),
        ("no members", DISTANCE, members()),
    ],
    "correlation": [
        ("on the expected side", RELATED, numbers(loss=THIRTY, ratio=THIRTY**3 + 0.1)),
        ("on the other", RELATED, numbers(loss=THIRTY, ratio=-THIRTY)),
        ("on neither", RELATED, numbers(loss=THIRTY, ratio=np.abs(THIRTY - 0.1))),
        ("19 members", RELATED, numbers(loss=THIRTY[:19], ratio=THIRTY[:19])),
        ("one number in all members", RELATED, numbers(loss=THIRTY, ratio=np.ones(30))),
        ("two members", RELATED, numbers(loss=THIRTY[:2], ratio=THIRTY[:2])),
    ],
    "exists": [
        ("a cell of all", FITTED_SOMEWHERE, grid([of(0), of(6)], [of(0), of(6)])),
        ("supported by a cell of all", exists("it", "supported", **FITTED), grid([of(0), of(6)], [of(0), of(6)])),
        ("one too few", FITTED_SOMEWHERE, grid([of(0), of(5)], [of(0), of(6)])),
        ("no sign anywhere", FITTED_SOMEWHERE, grid([of(0), of(0)], [of(0), of(0)])),
        ("a sign", FITTED_SOMEWHERE, grid([of(0), of(0)], [of(1), of(0)])),
        ("five members", FITTED_SOMEWHERE, grid([of(5, 5)] * 2, [of(5, 5)] * 2)),
        ("no members", FITTED_SOMEWHERE, grid([of(0, 0)] * 2, [of(0, 0)] * 2)),
    ],
}


def words(kind):
    """Everything that a reader is shown of each case: rule, finding, decision, reason, and the summary of each part."""
    lines, shown = [], ""
    for title, rule, evidence in CASES[kind]:
        verdict = combine(kind, rule(evidence))
        if rule.words != shown:
            shown = rule.words
            lines += [f"{shown}", ""]
        lines += [f"  {title}: {verdict.decision}", f"    {rule.finding(verdict)}"]
        lines += [f"    reason: {verdict.reason}"] if verdict.reason else []
        for part in verdict.parts:
            lines.append(f"    {' '.join(['-', *part.coordinates.values()])} {part.decision}: {part.summary}")
        lines.append("")
    return "\n".join(lines)


@pytest.mark.parametrize("kind", CASES)
def test_a_rule_says_what_it_always_said(kind):
    assert words(kind) == (FOLDER / f"{kind}.txt").read_text(encoding="utf-8")


def test_a_claim_without_evidence_says_so():
    assert combine("majority", []).reason == "there was nothing to test"
    assert combine("majority", [not_run("was not run", {"network": "deep"})] * 2).reason == "was not run"


if __name__ == "__main__":
    for name in CASES:
        (FOLDER / f"{name}.txt").write_text(words(name), encoding="utf-8")
