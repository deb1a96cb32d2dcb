"""Made-up reports with all that a real one has."""

import numpy as np
import xarray as xr

from bathymetry.charts import Figure, Reference, curves, panel
from bathymetry.charts.line_charts import prediction_chart as predictions
from bathymetry.charts.point_charts import dot_chart as dots
from bathymetry.charts.point_charts import path_chart as paths
from bathymetry.charts.point_charts import scatter_chart as scatter
from bathymetry.report import ClaimRow, Kept, Report, StudySection
from bathymetry.stats import Part, Verdict
from charts.cases import NETWORKS, accuracies, losses, times
from charts.cases import predictions as prediction_cases

HOSTILE = "</script><script>window.attacked = true</script><img src=x onerror='window.attacked = true'> & \"quotes\""


def part(decision, estimate, interval, p, summary, **coordinates):
    return Part(decision, estimate, interval, p, 10, summary, coordinates)


def claims(study: str) -> tuple[ClaimRow, ...]:
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
        "mean_sign",
        "undecided",
        (part("undecided", 0.12, (-0.3, 0.52), 0.6, "0.12 (95 % interval −0.30 to 0.52)"),),
        10,
        0.6,
    )
    return (
        ClaimRow(
            f"{study}.a",
            "all networks converge",
            "Share of members that fit.",
            mixed,
            "1 of 10 shallow ones fit.",
            0.08,
        ),
        ClaimRow(
            f"{study}.b",
            "all converge at about 250 epochs",
            "Share of members that fit by epoch 275.",
            Verdict("majority", "not tested", (), 0, None, "the claim needs MNIST; this run used strokes"),
            "Not tested: the claim needs MNIST; this run used strokes.",
            kept=Kept("supported", "In that run 10 of 10 fit.", "The reference run"),
        ),
        ClaimRow(f"{study}.c", "deep is faster", "Difference of log loss.", slope, "The difference is 0.12.", 0.6),
    )


def loss_figure(number: int, seed: int = 0) -> Figure:
    chart = curves(
        losses(seed=seed),
        x="epoch",
        series="network",
        x_title="Epoch",
        y_title="Training loss (mean squared error)",
        references=[Reference(0.005, "1 % of the variance")],
    )
    return Figure(
        f"{number:02d}-loss", "How fast does each network learn?", (panel(chart, "Loss"),),
        f"Finding of figure {number}.", "Each faint line is one member.", number,
    )  # fmt: skip


def prediction_figure(number: int) -> Figure:
    lines, truth = prediction_cases()
    panels = tuple(
        panel(
            predictions(
                lines.isel(network=place),
                truth,
                x_title="x",
                y_title="Prediction",
                truth_label="cos(x)",
                series_index=place,
            ),
            network,
        )
        for place, network in enumerate(NETWORKS)
    )
    return Figure(
        f"{number:02d}-prediction", "What was learned?", panels, f"Finding of figure {number}.", "Dashed: cos.", number
    )


def dots_figure() -> Figure:
    chart = dots(times(), category="network", title="Epochs to fit", scale="log", never="never fit")
    return Figure(
        "epochs-to-fit", "When does each member fit?", (panel(chart, "Epochs to fit"),), "Half never do.", "Dots."
    )


def accuracy_figure(number: int) -> Figure:
    charts = [
        panel(
            curves(
                accuracies(seed=seed), x="epoch", series="network", x_title="Epoch", y_title=title,
                y_scale="accuracy", examples=60_000,
            ),
            title,
        )
        for seed, title in enumerate(("Training accuracy", "Test accuracy"))
    ]  # fmt: skip
    return Figure(
        f"{number:02d}-accuracy", "How accurate?", tuple(charts), f"Finding of figure {number}.", "Logit axis.", number
    )


def figures_of_every_kind() -> tuple[Figure, ...]:
    """Two panels of each kind of chart, with all that a kind can hold."""
    numbers = np.random.default_rng(7).uniform(0.1, 1.0, (2, 6, 5))
    shares = xr.DataArray(numbers[..., 0], {"activation": ["relu", "tanh"]}, ("activation", "member"))
    snapshots = {"snapshot": np.arange(5)}
    points = xr.DataArray(numbers.transpose(1, 2, 0), snapshots, ("member", "snapshot", "component"))
    loss = xr.DataArray(numbers[0], snapshots, ("member", "snapshot"))
    sizes = xr.DataArray(
        numbers, {"half": ["training", "test"], "size": [5, 25, 125, 500, 1500]}, ("half", "member", "size")
    )
    bounds = xr.DataArray([900.0, 500.0, 400.0], {"network": list(NETWORKS)}, ("network",))
    lines = (Reference(0.5, "half"), Reference(125, "middle", "x"))
    lines_of_members, truth = prediction_cases()
    charts = {
        "curves": curves(
            sizes, x="size", series="half", x_title="Size", x_scale="log", y_title="Loss", members="dots",
            references=lines, behind=sizes.isel(member=0), behind_label="behind",
        ),
        "dots": dots(
            times(), category="network", title="Epochs", scale="log", bounds=bounds,
            references=[Reference(600, "middle", "x")],
        ),
        "paths": paths(points, loss, titles=("Component 1", "Component 2")),
        "predictions": predictions(
            lines_of_members.isel(network=0), truth, x_title="x", y_title="Prediction", trained_on=(-10.0, 10.0)
        ),
        "scatter": scatter(
            shares, shares, group="activation", x_title="Share", y_title="Share", references=[Reference(0.5, "half")]
        ),
    }  # fmt: skip
    return tuple(
        Figure(f"kind-{kind}", f"Two of {kind}?", (panel(chart, "first"), panel(chart, "second")), "Two.", "Twice.")
        for kind, chart in charts.items()
    )


def section(name: str, figures: tuple[Figure, ...], question: str = "Do deep networks fit better?") -> StudySection:
    return StudySection(
        name=name,
        part="Part 1: depth",
        question=question,
        about="Three networks of about 750 parameters.",
        reading="Each faint line is one member, the strong one their mean.",
        seen=("The deep network ends at 0.00064.", "The shallow one ends at 0.094."),
        figures=figures,
        claims=claims(name),
        settings={"Epochs": "1,500", "Networks": ", ".join(NETWORKS)},
        code='import bathymetry as bm\nresult = bm.run_study("depth-function")\nassert 7 % 4 == 3 and 1 < 2',
        warnings=("1 of 10 members diverged.",),
    )


def report(*studies: StudySection) -> Report:
    return Report(
        title="What deep and shallow networks do with the same number of parameters",
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
        (HOSTILE,),
        (
            StudySection(
                "depth-function", HOSTILE, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (hostile_figure(),), claims("x"),
                {HOSTILE: HOSTILE}, HOSTILE, (HOSTILE,),
            ),
        ),
        {HOSTILE: HOSTILE},
        HOSTILE,
        (HOSTILE,),
    )  # fmt: skip


def hostile_figure() -> Figure:
    values = losses(epochs=60, diverged=False).assign_coords(network=[HOSTILE, 'it\'s \\ "b"', "a.b[c]"])
    chart = curves(
        values, x="epoch", series="network", x_title=HOSTILE, y_title=HOSTILE, references=[Reference(0.1, HOSTILE)]
    )
    return Figure("01-hostile", HOSTILE, (panel(chart, HOSTILE), panel(chart, HOSTILE)), HOSTILE, HOSTILE, 1)
