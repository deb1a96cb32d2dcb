"""Every code block of the README and of the documentation runs, and every link inside leads somewhere.

The blocks of a page run in their order, in one folder. A block with a title (```yaml title="sweep.yaml") is written to
that file. Commands of ```sh train with the preset smoke; of those that need another machine the options are looked up.
A block ```text below one of Python shows what that prints.
"""

import json
import re
import shlex
import sys
import tomllib
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from itertools import zip_longest
from math import isclose
from pathlib import Path
from typing import Any

import pytest
import yaml

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.cli.run import OPTIONS
from bathymetry.cli.sweep import _command as sweep_command
from bathymetry.studies import find

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md")))
}
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNS = {page: blocks for page, text in PAGES.items() if (blocks := BLOCK.findall(text))}
QUICK = ("docs/probes/",)
PLANNED = ("docs/exercises/",)  # whose many runs would take minutes
ELSEWHERE = re.compile(r"\w+://|HOST|\b[A-Z]+\.(yaml|py)\b|/shared/|cuda|fetch|\bFOLDER\b|--print")
SHELL = {"cd", "dask", "export", "moto_server", "python", "python3", "source"}  # what is the system's own


@pytest.mark.parametrize(
    "page", [pytest.param(one, marks=() if one.startswith(QUICK) else pytest.mark.slow) for one in RUNS]
)
def test_the_code_blocks_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names: dict[str, Any] = {"__name__": "__page__"}
    ran = ""
    for language, title, text in RUNS[page]:
        if language == "text" and ran == "python":
            printed = capsys.readouterr().out
            assert alike(printed, text), f"the page shows\n{text}\nand its code prints\n{printed}"
        ran = language
        capsys.readouterr()
        if title:
            Path(title).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, page, "exec"), names)
        elif language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                run([*words, "--plan"] if page.startswith(PLANNED) and words else words, capsys)


NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def alike(printed: str, shown: str) -> bool:
    """Whether words are the same and numbers as close as other processors bring them."""
    if NUMBER.sub("", printed).split() != NUMBER.sub("", shown).split():
        return False
    found = [
        [float(one.replace(",", "").replace("−", "-")) for one in NUMBER.findall(text)] for text in (printed, shown)
    ]
    pairs = zip_longest(*found, fillvalue=float("nan"))
    return all(isclose(one, other, rel_tol=0.25, abs_tol=0.02) for one, other in pairs)


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_has_stored(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
            stored = "".join(line for one in cell["outputs"] for line in one.get("text", []))
            assert alike(capsys.readouterr().out, stored)


@pytest.mark.parametrize("printed", ["1 of 3 networks", "2 of 3 members", "2 of 3 networks: 4"])
def test_what_a_page_does_not_show_is_told_from_what_it_shows(printed):
    assert not alike(printed, "2 of 3 networks")
    assert alike(printed, printed)


def run(words: list[str], capsys: pytest.CaptureFixture):
    """Run one line of a shell block, up to what another program does with its output."""
    words = words[: next((i for i, word in enumerate(words) if word in {">", "|", "&", "&&"}), None)]
    if not words or words[0] in SHELL:
        return
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        named = re.findall(r"bathymetry\[([^\]]+)\]", " ".join(words))
        assert {extra for one in named for extra in one.split(",")} <= extras.keys()
    else:
        assert words[0] == "bathymetry", words
        bathymetry(words[1:], capsys)


def bathymetry(words: list[str], capsys: pytest.CaptureFixture):
    if ELSEWHERE.search(" ".join(words)) or ("--local-cluster" in words and find_spec("distributed") is None):
        study = ["capacity" if words[1] == "all" else words[1]] if words[0] == "run" else []
        capsys.readouterr()
        with suppress(SystemExit):
            main([words[0], *study, "--help"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert {word for word in words if word.startswith("--")} <= options | {"--data"}
        return
    words = [word for word in words if word != "--open"]
    if words[0] == "run":
        at = words.index("--preset") if "--preset" in words else len(words)
        words = [*words[:at], "--preset", "smoke", *words[at + 2 :]]
    if words[0] == "merge":
        for name in words[1 : words.index("--out")]:  # what other people have run
            if not Path(name).exists():
                assert main(["run", "gradient-norm", "--preset", "smoke", "--seed", name, "--out", name]) == 0
    assert main(words) == 0, " ".join(words)
    if words[0] == "predict":  # as its reader does
        template = Path("predictions.yaml").read_text(encoding="utf-8")
        Path("predictions.yaml").write_text(re.sub(r"predicted:.*", "predicted: undecided", template), encoding="utf-8")


LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links(page: str) -> list[str]:
    """The links of a page to files and headings, outside its code."""
    text = re.sub(r"^```.*?^```$|`[^`\n]+`", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    return [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]


def anchors(page: str) -> set[str]:
    """The names that GitHub and the site give to headings."""
    headings = HEADING.findall(re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if links(page)])
def test_the_links_of_a_page_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.resolve().relative_to(ROOT).as_posix()), link


def test_the_api_reference_has_every_public_name_once():
    pages = [text for page, text in PAGES.items() if page.startswith("docs/reference/")]
    named = [name for text in pages for name in re.findall(r"^::: bathymetry\.(\S+)$", text, re.MULTILINE)]
    documented = [id(found(name)) for name in named]
    packages = [bm, bm.charts, bm.claims, bm.data, bm.linalg, bm.models, bm.probes, bm.runs, bm.stats, bm.studies]
    every = {
        id(value): f"{package.__name__}.{name}"
        for package in [*packages, bm.surface, bm.training]
        for name in package.__all__
        if not hasattr(value := getattr(package, name), "__path__")
    }
    assert [every[key] for key in every.keys() - set(documented)] == []
    assert len(documented) == len(set(documented))


def found(name: str) -> object:
    """Look a name up; where a function has the name of its module, the page names both."""
    value: object = bm
    for part in dict.fromkeys(name.split(".")):
        value = getattr(value, part)
    return value


def test_the_pages_of_the_studies_have_the_settings_claims_and_figures_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import study_pages

    for path, text in study_pages.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is behind: run python docs/study_pages.py"


def test_the_page_on_citing_has_the_version_and_the_date_of_the_citation_file():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version, date = f"version = {{{cited['version']}}}", f"date = {{{cited['date-released']}}}"
    assert version in PAGES["docs/how-to/citing.md"]
    assert date in PAGES["docs/how-to/citing.md"]


def test_nothing_tells_a_reader_to_install_bathymetry_from_where_it_is_not():
    source = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")}
    pages = {name: text for name, text in PAGES.items() if name != "CHANGELOG.md"}
    assert [name for name, text in (pages | source).items() if re.search(r"pip install \W?bathymetry", text)] == []


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= 130


def test_the_table_of_options_says_which_only_run_or_only_sweep_has():
    text = PAGES["docs/reference/command-line.md"]
    table = text[text.index("## Options of `run` and `sweep`") : text.index("## Options of `compare`")]
    shared = {name for name, _, _ in OPTIONS} | {"out", "plan", "open"}
    of_run = {"preset", "predict", *find("capacity").model_fields}
    options = {"run": shared | of_run, "sweep": {one.name for one in fields(sweep_command())}}
    for row in re.findall(r"^\| (`--.*?) \| (.*) \|$", table, re.MULTILINE):
        named = {one.replace("-", "_") for one in re.findall(r"--([a-z-]+)", row[0])}
        only = re.match(r"`(run|sweep)` only", row[1])
        for command, own in options.items():
            assert (named <= own) == (only is None or only[1] == command), row
