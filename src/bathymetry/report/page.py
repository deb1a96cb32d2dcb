"""The page: one HTML file that holds all it needs, and says what was found as it loads.

The charting scripts stand in it once, all chart data once and by column; each chart is a short description that refers
to its data by name. Nothing is fetched, so it works from a mailbox or a memory stick.
"""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bathymetry.charts.sheet import Sheet, charting_library, common_key
from bathymetry.charts.theme import PALETTE, configuration, sample, twins
from bathymetry.claims.judging import Judged, hits
from bathymetry.core.showing import printable
from bathymetry.report import figure_tools
from bathymetry.report.columns import columns
from bathymetry.report.reference import Answer, reference_answers
from bathymetry.report.rows import rows_of
from bathymetry.report.sections import StudySection
from bathymetry.stats.verdict import Decision
from bathymetry.studies.settings import field_name, shown

_ORDER: Sequence[Decision] = ("supported", "contradicted", "undecided", "not tested")
_SCRIPTS = ("state", "charts", "explore", "exports", "page")  # in one scope, in this order
_PLAIN_STYLE = (  # where scripts are off
    ".waiting, .controls, .slider, .downloads button { display: none; } .chart { min-height: 0 !important; }"
)
_PAGE = {  # colours of the page that no chart has: light and dark
    "wash": ("#f4f6f7", "#1a2530"),
    "supported": ("#00695a", "#45cdb0"),
    "contradicted": ("#b23a0e", "#ff9468"),
    "undecided": ("#3f4d5a", "#c3ced8"),
    "not-tested": ("#6b7883", "#93a1ad"),
    "link": ("#0b5cad", "#7dbdff"),
}
_OPEN = 2  # figures of a study that are shown at once, if they have one chart each


@dataclass(frozen=True)
class Report:
    """All that the page says."""

    title: str
    meta: str  # "quick run · 6 networks each · MNIST · 26 November 2026"
    opening: tuple[str, ...]  # the data, when, what was run
    studies: tuple[StudySection, ...]
    provenance: Mapping[str, str]
    reproduce: str  # the commands that reproduce it
    notes: tuple[str, ...] = ()  # for example what could not be read
    reference_leads: bool = False  # whether the reference run is the evidence, and this run a demonstration
    folders: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of a study's networks, where it was merged
    points: Mapping[str, Sequence[str]] = field(default_factory=dict)  # where a sweep's lie; none on a grid
    own_files: tuple[str, ...] = ()  # why a command names a file that is not stored
    names: tuple[tuple[str, str], tuple[str, str]] = (("Reference run", "full, MNIST"), ("This run", ""))  # of both
    noun: str = "network"  # what a member is
    each: str = "network"  # the setting in which members differ
    opens_all: bool = False  # whether all figures are shown at once
    most_narrow: int = 100  # series that a chart of half the page's width has at most
    read_at: float | None = None  # where a slider along lines starts; by default in the middle


def page(report: Report, library: str | None = None, template: str = "page.html.j2") -> str:
    """Write the page as HTML, to be stored as one file; `library` is what `charting_library` gives, or empty."""
    datasets: dict[str, Any] = {}
    charts: dict[str, Any] = {}
    drawn = {
        study.name: [_drawn(figure, study.name, datasets, charts) for figure in study.figures]
        for study in report.studies
    }
    claims = [claim for study in report.studies for claim in study.claims]
    cards = {study.name: _card(study, report) for study in report.studies}
    open_figures = list if report.opens_all else _open_figures
    style = _style({chart["height"] for some in drawn.values() for one in some for chart in one["charts"]})
    library = _inside_script(charting_library() if library is None else library)
    scripts = [
        f"(() => {{\n{library}\n}})();",
        _inside_script(f'(() => {{\n"use strict";\n{"".join(_read(f"{name}.js") for name in _SCRIPTS)}}})();'),
    ]
    sliders = {
        name: figure_tools.slider_of(name, open_figures(some), charts, datasets, report.read_at)
        for name, some in drawn.items()
    }
    content = {
        "datasets": {name: columns(rows) for name, rows in datasets.items()},
        "charts": charts,
        "cards": {name: card.chart for name, card in cards.items() if card.chart is not None},
        "figures": {one["id"]: figure_tools.exported(one) for some in drawn.values() for one in some},
        "sliders": {name: one for name, one in sliders.items() if one},
        "each": report.each,
        "config": configuration(),
        "twins": twins(),
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_held_together,
    )
    environment.filters.update(
        p=p_value, sentence=_sentence, lines_of=figure_tools.lines_of_code, code=escape, setting=field_name, shown=shown
    )
    leads = report.reference_leads

    def lead(claim: Judged) -> Decision:
        return claim.reference.decision if leads and claim.reference is not None else claim.verdict.decision

    environment.globals.update(in_key=_in_key, lead=lead, open_figures=open_figures, two_runs=_has_reference, hits=hits)
    whole = environment.get_template(template).render(
        report=report,
        drawn=drawn,
        has_charts=bool(charts),
        tested=sum(claim.verdict.p is not None for claim in claims),
        sliders=sliders,
        members={
            name: _menu(name, figure_tools.members_of(some, charts, datasets), report) for name, some in drawn.items()
        },
        epochs={name for name, some in drawn.items() if figure_tools.has_epochs(some, charts)},
        rows={study.name: rows_of(study.claims, reference_leads=leads, noun=report.noun) for study in report.studies},
        cards=cards,
        tally=_tally(claims, report),
        differing=sum(claim.differs for claim in claims),
        claims=claims,
        fewest=_too_few(claims),
        colour_name={light: name for name, (light, _) in PALETTE.items()},
        policy=Markup(_policy(scripts, [style, _PLAIN_STYLE])),
        style=Markup(style),
        plain_style=Markup(_PLAIN_STYLE),
        library=Markup(scripts[0]),
        script=Markup(scripts[1]),
        content=Markup(_json(content)),
    )
    return whole.lstrip()


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Allow exactly these scripts and styles and images that stand in the page, and nothing from anywhere else."""
    allowed = {"script-src": scripts, "style-src": styles}
    listed = [f"{kind} {' '.join(map(_hash, sources))}" for kind, sources in allowed.items()]
    return "; ".join(["default-src 'none'", *listed, "img-src data:", "base-uri 'none'", "form-action 'none'"])


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _style(heights: Collection[int]) -> str:
    """Write all rules into one element; a style attribute would need a policy that allows any."""
    light, dark = (_variables({**PALETTE, **_PAGE}, face) for face in (0, 1))
    samples = "\n".join(f".in-{name} {{ --colour: var(--{name}); }}" for name in PALETTE)
    room = "\n".join(f".high-{height} {{ min-height: {height + 60}px; }}" for height in sorted(heights))
    system = f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}"
    chosen = f"@media screen {{ :root[data-theme=dark] {{ {dark} }} }}"
    schemes = "".join(f":root[data-theme={one}] {{ color-scheme: {one}; }}" for one in ("light", "dark"))
    own = f"{_read('style.css')}\n{samples}\n{room}\n"
    return f":root {{ color-scheme: light dark; {light} }}\n{schemes}\n{system}\n{chosen}\n{own}"


def _variables(palette: Mapping[str, tuple[str, str]], face: int) -> str:
    return " ".join(f"--{name}: {colours[face]};" for name, colours in palette.items())


def _read(name: str) -> str:
    return files("bathymetry.report").joinpath(name).read_text(encoding="utf-8")


def _drawn(figure: Sheet, study: str, datasets: dict[str, Any], charts: dict[str, Any]) -> dict[str, Any]:
    """Take a figure apart into data, descriptions of charts, and what the page says around them."""
    panels, keys, marks = list[dict[str, Any]](), [], []
    for place, panel in enumerate(figure.panels):
        view = panel.copied()
        datasets.update(view.pop("datasets", {}))
        for name in ("$schema", "config", "description"):
            view.pop(name, None)
        meta = view.pop("usermeta", {})
        keys.append(tuple(meta.get("key", ())))
        marks.append(tuple(meta.get("marks", ())))
        view |= {"epochs": meta["epochs"]} if "epochs" in meta else {}
        for layer in view.get("layer", [view]):  # its key is made of buttons that wrap
            for channel in layer.get("encoding", {}).values():
                if isinstance(channel, dict) and "legend" in channel and channel.get("field") == "series":
                    channel["legend"] = None
        chart = f"{study}-{figure.name}-{place}"
        charts[chart] = view
        words = {"title": panel.title, "description": panel.description}
        panels.append({"id": chart, "height": int(view.get("height", 300)), **words})
    common, own = common_key(keys)
    drawn_as, own_marks = common_key(marks)
    charted = [one | {"key": key, "marks": some} for one, key, some in zip(panels, own, own_marks, strict=True)]
    return {"id": f"{study}-{figure.name}", "figure": figure, "key": common, "marks": drawn_as, "charts": charted}


def _card(study: StudySection, report: Report) -> Answer:
    """The answer to a study's question: that of the reference run where it leads."""
    answers = reference_answers() if report.reference_leads else {}
    own = study.answer or (study.main_findings[0] if study.main_findings else study.about)
    return answers.get(study.name) or Answer(own, study.card, "This run" if report.reference_leads else "")


def _open_figures(drawn: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The figures that are shown at once: two that have one chart each, or one that has several."""
    if len(drawn) > 1 and all(len(one["charts"]) == 1 for one in drawn[:_OPEN]):
        return drawn[:_OPEN]
    return drawn[:1]


def _menu(study: str, members: Sequence[tuple[int | None, int]], report: Report) -> dict[str, str]:
    """What the menu of networks offers: values, of which the address has one, and words."""
    folders, points = report.folders.get(study, ()), report.points.get(study)
    found = {}
    for point, member in members:
        if point is not None and points:
            found[f"{point}.{member}"] = f"point {point}, member {member}: {points[point]}"
        elif points is not None:
            found[f"{member}"] = f"member {member} at each point"
        else:
            found[f"{member}"] = f"{report.each} {member}" + (f" · {folders[member]}" if member < len(folders) else "")
    return found


def _has_reference(study: StudySection) -> bool:
    return any(claim.reference is not None for claim in study.claims)


def _tally(claims: Sequence[Judged], report: Report) -> list[dict[str, Any]]:
    """Count the verdicts of both runs, the one that leads first."""
    there = [claim.reference.decision for claim in claims if claim.reference is not None]
    here = [claim.verdict.decision for claim in claims]
    reference, this = (dict(zip(("name", "words"), names, strict=True)) for names in report.names)
    runs: list[dict[str, Any]] = [this | {"counts": here}]
    if there:
        runs.append(reference | {"counts": there})
    if report.reference_leads:
        runs.reverse()
    return [
        one
        | {"leads": not place, "counts": {name: one["counts"].count(name) for name in _ORDER if name in one["counts"]}}
        for place, one in enumerate(runs)
    ]


def _too_few(claims: Sequence[Judged]) -> int | None:
    """Find the fewest members that all agree and still are too few for a verdict among so many claims."""
    verdicts = [claim.verdict for claim in claims if claim.verdict.kind == "majority" and claim.lost_by_holm]
    return min((one.members for one in verdicts if one.p == 2.0 ** (1 - one.members)), default=None)


def p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "." if words else ""


def _held_together(value: object) -> object:
    """Keep a line from breaking before a per cent sign and within "p = 0.03", and show what would turn it around."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    value = printable(value)
    return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", re.sub(r"(?<=\d) %", "\u00a0%", value))


def _in_key(entry: Mapping[str, Any]) -> Markup:
    own = {light: f"var(--{name})" for name, (light, _) in PALETTE.items()}
    return Markup(sample({**entry, "others": [own[one] for one in entry["others"]]}, "var(--colour)"))


def _json(content: Mapping[str, Any]) -> str:
    """Write JSON that no HTML parser can mistake for markup."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inside_script(source: str) -> str:
    """Keep a script's own text from ending the element that it stands in."""
    return source.replace("</script", "<\\/script").replace("<!--", "\\x3c!--")
