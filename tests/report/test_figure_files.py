"""Which figures are drawn again when a page is made again: those that would look different, and no others."""

import shutil
from concurrent.futures import Future
from importlib import metadata, resources
from pathlib import Path

import altair as alt
import pytest

import bathymetry as bm
from bathymetry.charts.drawing import DrawingPool
from bathymetry.report import figure_files
from bathymetry.report.publishing import StudyCodeError, publish
from bathymetry.store.results import read_results, write_results

OWN = Path(__file__).parents[1] / "execution" / "own_study.py"
FIGURE = "figure-final-loss"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    mine = shutil.copy(OWN, folder / "own.py")
    bm.run_study(str(mine), preset="smoke", out=folder / "out", members=6)
    publish(folder / "out", [str(mine)])
    return folder


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    library = Future()  # which takes a second
    library.set_result("the charting library")
    monkeypatch.setattr(DrawingPool, "charting_library", lambda pool: library)
    return shutil.copytree(made, tmp_path / "copied")


@pytest.fixture
def drawn(monkeypatch):
    """The names of the figures that are drawn."""
    names, draw = [], DrawingPool.draw

    def noted(pool, sheet):
        names.append(sheet.name)
        return draw(pool, sheet)

    monkeypatch.setattr(DrawingPool, "draw", noted)
    return names


def figures(folder):
    return {path.name: path.read_bytes() for path in (folder / "out" / "own-width" / "figures").iterdir()}


def again(folder, name="own.py"):
    publish(folder / "out", [str(folder / name)])
    return figures(folder)


def test_nothing_is_drawn_where_nothing_changed(copied, drawn):
    before = figures(copied)
    for _ in range(2):
        again(copied)
        page, section = ((copied / "out" / name).read_bytes() for name in ("report.html", "own-width/page.json"))
    assert not drawn
    assert again(copied) == before
    assert (copied / "out" / "report.html").read_bytes() == page
    assert (copied / "out" / "own-width" / "page.json").read_bytes() == section


def changed_results(copied, monkeypatch):
    path = copied / "out" / "own-width" / "result.nc"
    results = read_results(path)
    results["main"]["loss"] = results["main"]["loss"] * 2
    write_results(path, results)


def changed_study(copied, monkeypatch):
    text = (copied / "own.py").read_text()
    assert text.count('"Seen."') == 1
    (copied / "own.py").write_text(text.replace('"Seen."', '"Seen again."'))


def changed_version(copied, monkeypatch, package="bathymetry"):
    def version(name):
        return "99" if name == package else metadata.version(name)

    monkeypatch.setattr(figure_files, "version", version)


def changed_renderer(copied, monkeypatch):
    changed_version(copied, monkeypatch, "vl-convert-python")


def changed_code(copied, monkeypatch, file="sheet.py"):
    whole = copied / "charts"
    shutil.copytree(Path(str(resources.files("bathymetry.charts"))), whole)
    (whole / file).write_text((whole / file).read_text() + "\n")
    monkeypatch.setattr(figure_files, "files", lambda package: whole)


def changed_theme(copied, monkeypatch):
    changed_code(copied, monkeypatch, "theme.json")


def changed_altair(copied, monkeypatch):
    """Another version may write another specification for the same chart."""
    to_dict = alt.LayerChart.to_dict
    monkeypatch.setattr(alt.LayerChart, "to_dict", lambda *args, **kwargs: to_dict(*args, **kwargs) | {"name": "new"})


def changed_fonts(copied, monkeypatch):
    (copied / "fonts").mkdir()
    (copied / "fonts" / "new.ttf").write_bytes(b"a font")
    monkeypatch.setattr(figure_files, "_FONTS", (*figure_files._FONTS, str(copied / "fonts")))


def changed_zone(copied, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")


def changed_page(copied, monkeypatch):
    path = copied / "out" / "own-width" / "page.json"
    path.write_text(path.read_text().replace("Wider is lower.", "Wider is better."))


def changed_file(copied, monkeypatch):
    path = copied / "out" / "own-width" / "figures" / "figure-final-loss.svg"
    path.write_bytes(path.read_bytes().replace(b"Seen", b"Sewn"))


def missing_file(copied, monkeypatch):
    (copied / "out" / "own-width" / "figures" / "figure-final-loss.png").unlink()


CHANGES = [
    *(changed_results, changed_study, changed_version, changed_renderer, changed_code, changed_theme, changed_altair),
    *(changed_fonts, changed_zone, changed_page, changed_file, missing_file),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__.replace("_", " "))
def test_a_figure_is_drawn_again_after_anything_that_it_depends_on_has_changed(copied, drawn, monkeypatch, change):
    before = figures(copied)
    change(copied, monkeypatch)
    after = again(copied)
    assert drawn == ["final-loss"]
    assert after.keys() == before.keys()
    assert (b"Seen again." in after["figure-final-loss.svg"]) == (change is changed_study)
    assert (after == before) == (change not in (changed_results, changed_study, changed_altair))
    again(copied)
    assert drawn == ["final-loss"]


def with_chart(folder, statement):
    """Change the chart of the study's figure before it is returned."""
    text = (folder / "own.py").read_text()
    chart = 'dots(r["loss"].sel(split="train").isel(epoch=-1), "network")'
    assert text.count(f"        return {chart}, ") == 1
    text = text.replace(
        f"        return {chart}, ", f"        (panel,) = {chart}\n        {statement}\n        return [panel], "
    )
    (folder / "own.py").write_text(text.replace("import numpy", "import altair as alt\nimport numpy"))


def test_a_figure_whose_data_are_elsewhere_is_drawn_each_time(copied, drawn):
    with_chart(copied, "panel.chart.layer[0].data = alt.UrlData('data:text/csv,x%0A1')")
    again(copied)
    again(copied)
    assert drawn == ["final-loss", "final-loss"]


def test_a_figure_that_can_not_be_drawn_is_one_sentence_after_the_page_is_written(copied):
    with_chart(copied, "panel.chart.layer[0].mark = {'kind': 'none'}")
    (copied / "out" / "report.html").unlink()
    with pytest.raises(StudyCodeError, match=r"^The figures of own-width could not be drawn \(ValueError: Vega-Lite"):
        again(copied)
    assert "could not be drawn" in (copied / "out" / "report.html").read_text()
