"""Made-up reports with all that a real one has."""

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Reference, attrs, dots, lines, paths, predictions, scatter
from bathymetry.charts.figure import Panel
from bathymetry.claims.judging import Judged, ReferenceVerdict
from bathymetry.report.cards import card_chart, packed
from bathymetry.report.page import Report
from bathymetry.report.sections import StudySection
from bathymetry.stats import Part, Verdict
from charts.cases import NETWORKS, accuracies, losses, times
from charts.cases import predictions as prediction_cases

HOSTILE = "</script><script>window.attacked = true</script><img src=x onerror='window.attacked = true'> & \"quotes\""


def part(decision, estimate, interval, p, summary, **coordinates):
    return Part(decision, estimate, interval, p, 10, summary, coordinates)


def claims(study: str) -> tuple[Judged, ...]:
    mixed = Verdict(
        "majority",
        "contradicted",
        (
            part(
                "contradicted", 0.1, (0.003, 0.445), 0.02, "1 of 10 members (95 % interval 0–45 %)", network="shallow"
            ),
            part("supported", 1.0, (0.69, 1.0), 0.002, "10 of 10 members (95 % interval 69–100 %)", network="deep"),
        ),
        10,
        0.04,
    )
    slope = Verdict(
        "median_sign",
        "undecided",
        (part("undecided", 0.12, (-0.3, 0.52), 0.6, "0.12 (95 % interval −0.30 to 0.52)"),),
        10,
        0.6,
    )
    return (
        Judged(
            f"{study}.a",
            "all networks converge",
            "Share of members that fit.",
            mixed,
            "1 of 10 shallow ones fit.",
            0.08,
        ),
        Judged(
            f"{study}.b",
            "all converge at about 250 epochs",
            "Share of members that fit by epoch 275.",
            Verdict("majority", "not tested", (), 0, None, "the claim needs MNIST; this run used strokes"),
            "Not tested: the claim needs MNIST; this run used strokes.",
            reference=ReferenceVerdict(
                Verdict(
                    "majority",
                    "supported",
                    (part("supported", 1.0, (0.69, 1.0), 0.002, "10 of 10 members (95 % interval 69–100 %)"),),
                    10,
                    0.002,
                ),
                "In that run 10 of 10 fit.",
                0.03,
                "0.1.0",
            ),
        ),
        Judged(f"{study}.c", "deep is faster", "Difference of log loss.", slope, "The difference is 0.12.", 0.6),
    )


def loss_figure(number: int, seed: int = 0) -> Figure:
    values = losses(seed=seed).assign_attrs(attrs("training loss (mean squared error)", "log"))
    panels = lines(values, "epoch", "network", references=[Reference(0.005, "1 % of the variance")])
    finding = f"Finding of figure {number}."
    title = "How fast does each network learn?"
    return Figure(f"{number:02d}-loss", title, tuple(panels), finding, "Each faint line is one member.", number)


def prediction_figure(number: int) -> Figure:
    values, truth = prediction_cases()
    panels = predictions(values, truth, facet="network", truth_label="cos(x)")
    finding = f"Finding of figure {number}."
    return Figure(f"{number:02d}-prediction", "What was learned?", tuple(panels), finding, "Dashed: cos.", number)


def dots_figure() -> Figure:
    panels = dots(times(), "network", never="never fit")
    return Figure("epochs-to-fit", "When does each member fit?", tuple(panels), "Half never do.", "Dots.")


def accuracy_figure(number: int) -> Figure:
    panels = [
        panel
        for seed, name in enumerate(("training accuracy", "test accuracy"))
        for panel in lines(accuracies(seed=seed).assign_attrs(long_name=name), "epoch", "network")
    ]
    finding = f"Finding of figure {number}."
    return Figure(f"{number:02d}-accuracy", "How accurate?", tuple(panels), finding, "Logit axis.", number)


def figures_of_every_kind() -> tuple[Figure, ...]:
    """Two panels of each kind of chart, with all that a kind can hold."""
    numbers = np.random.default_rng(7).uniform(0.1, 1.0, (2, 6, 5))
    shares = xr.DataArray(numbers[..., 0], {"activation": ["relu", "tanh"]}, ("activation", "member"), name="share")
    snapshots = {"snapshot": np.arange(5)}
    points = xr.DataArray(numbers.transpose(1, 2, 0), snapshots, ("member", "snapshot", "component"))
    loss = xr.DataArray(numbers[0], snapshots, ("member", "snapshot"), name="loss")
    sizes = xr.DataArray(
        numbers,
        {"half": ["training", "test"], "size": ("size", [5, 25, 125, 500, 1500], attrs("size", "log"))},
        ("half", "member", "size"),
        attrs=attrs("loss", "log"),
    )
    bounds = xr.DataArray([900.0, 500.0, 400.0], {"network": list(NETWORKS)}, ("network",))
    values, truth = prediction_cases()
    two = (Reference(0.5, "half"), Reference(125, "middle", "x"))
    behind = {"behind": sizes.isel(member=0), "behind_label": "behind"}
    kinds = {
        "lines": lines(sizes, "size", "half", members="dots", references=two, **behind),
        "dots": dots(times(), "network", bounds=bounds, references=[Reference(600, "middle", "x")]),
        "paths": paths(points, loss),
        "predictions": predictions(values.isel(network=0), truth, trained_on=(-10.0, 10.0)),
        "scatter": scatter(shares, shares, "activation", references=[Reference(0.5, "half")]),
    }
    return tuple(
        Figure(
            f"kind-{kind}", f"Two of {kind}?", (Panel(one.chart, "first"), Panel(one.chart, "second")), "Two.", "Twice."
        )
        for kind, (one,) in kinds.items()
    )


def section(name: str, figures: tuple[Figure, ...], question: str = "Do deep networks fit better?") -> StudySection:
    return StudySection(
        name=name,
        chapter="Part 1: depth",
        question=question,
        about="Three networks of about 750 parameters.",
        reading="Each faint line is one member, the strong one their mean.",
        answer="Deep networks end lowest.",
        card=packed(card_chart(figures[0].sheet().panels[0])),
        main_findings=("The deep network ends at 0.00064.", "The shallow one ends at 0.094."),
        figures=tuple(one.sheet() for one in figures),
        claims=claims(name),
        settings={"epochs": 1_500, "networks": NETWORKS},
        code='import bathymetry as bm\nresult = bm.run_study("depth-function")\nassert 7 % 4 == 3 and 1 < 2',
        warnings=("1 of 10 members diverged.",),
    )


def report(*studies: StudySection) -> Report:
    return Report(
        title="What deep and shallow networks do with the same number of parameters",
        meta="quick run · 10 networks each",
        opening=("Data: strokes.", "24 November 2026, quick preset."),
        studies=studies
        or (
            section("depth-function", (loss_figure(1), prediction_figure(4), dots_figure())),
            section("depth-classification", (accuracy_figure(6),), "Do deep networks classify better?"),
        ),
        provenance={"Bathymetry": "0.1.0", "Digest": "b4" * 32},
        reproduce="bathymetry run all --preset quick --data auto",
    )


def hostile_report() -> Report:
    return Report(
        HOSTILE,
        HOSTILE,
        (HOSTILE,),
        (
            StudySection(
                "depth-function", answer=HOSTILE, card=packed(card_chart(hostile_figure().sheet().panels[0])),
                chapter=HOSTILE, question=HOSTILE, about=HOSTILE, reading=HOSTILE,
                main_findings=(HOSTILE,), figures=(hostile_figure().sheet(),), claims=claims("x"),
                settings={HOSTILE: HOSTILE}, code=HOSTILE, warnings=(HOSTILE,),
            ),
        ),
        {HOSTILE: HOSTILE},
        HOSTILE,
        (HOSTILE,),
    )  # fmt: skip


def hostile_figure() -> Figure:
    values = losses(epochs=60, diverged=False).assign_coords(network=[HOSTILE, 'it\'s \\ "b"', "a.b[c]"])
    values["epoch"].attrs = attrs(HOSTILE, "epoch")
    values = values.assign_attrs(attrs(HOSTILE, "log"))
    (one,) = lines(values, "epoch", "network", references=[Reference(0.1, HOSTILE)], title=HOSTILE)
    return Figure("01-hostile", HOSTILE, (one, one), HOSTILE, HOSTILE, 1)
