"""Figures drawn side by side in other processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bathymetry.charts import Figure, save
from bathymetry.charts.drawing import DrawingError, DrawingPool
from bathymetry.charts.figure import Panel
from bathymetry.charts.sheet import Sheet
from report.cases import dots_figure, figures_of_every_kind


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ends_within(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_running(process)


def test_a_figure_is_drawn_in_another_process_as_it_is_in_this_one(tmp_path):
    figures = [figures_of_every_kind()[0], dots_figure()]
    with DrawingPool(2) as pool:
        drawn = [pool.draw(figure.sheet()) for figure in figures]
        for figure, one in zip(figures, drawn, strict=True):
            assert one.result() == tuple(path.read_bytes() for path in save(figure, tmp_path))


def test_a_drawing_does_not_depend_on_what_was_drawn_before():
    figure = figures_of_every_kind()[0]
    assert figure._repr_svg_() == figure._repr_svg_()


def test_a_sheet_is_read_as_it_was_written():
    words = "quotes \" ' and \\ a \ud800 surrogate,\x00\n a line"
    sheet = Figure("name", words, dots_figure().panels, words, words, 7).sheet()
    assert "\n" not in sheet.to_json()
    assert Sheet.from_json(sheet.to_json()) == sheet


def test_a_process_that_draws_loads_neither_pytorch_nor_altair():
    code = "import sys, bathymetry.charts.drawing; print(sorted({'torch', 'altair', 'xarray'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_figure_that_can_not_be_drawn_is_one_sentence_and_keeps_no_other_from_being_drawn():
    import altair as alt

    wrong = Figure("wrong", "Wrong", (Panel(alt.Chart().mark_line().encode(x="x:Q"), "wrong"),), "", "").sheet()
    wrong.panels[0].view["mark"] = {"type": "no such mark"}
    with DrawingPool(1) as pool:
        failing, other = pool.draw(wrong), pool.draw(dots_figure().sheet())
        with pytest.raises(DrawingError, match=r"^ValueError: Vega-Lite to SVG conversion failed: .*'filled'\)$"):
            failing.result()
        assert other.result()[1].startswith(b"\x89PNG")


def test_a_process_that_is_killed_is_one_sentence_and_another_takes_its_place():
    with DrawingPool(1) as pool:
        pool.draw(dots_figure().sheet()).result()
        (process,) = pool._processes
        os.kill(process.pid, signal.SIGKILL)
        assert ends_within(process.pid, 10)
        with pytest.raises(DrawingError, match=r"The process that draws figures ended \(exit status -9\)"):
            pool.draw(dots_figure().sheet()).result()
        assert pool.draw(dots_figure().sheet()).result()[1].startswith(b"\x89PNG")


def test_leaving_the_context_ends_the_processes_and_what_waits():
    with DrawingPool(1) as pool:
        drawn = [pool.draw(dots_figure().sheet()) for _ in range(20)]
        drawn[0].result()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert drawn[-1].cancelled()
    assert not any(is_running(process.pid) for process in pool._processes)


def test_no_process_outlives_a_program_that_is_killed():
    code = (
        "import sys, time; from bathymetry.charts.drawing import DrawingPool\n"
        "pool = DrawingPool(1); pool.charting_library().result()\n"
        "print(pool._processes[0].pid, flush=True); pool.charting_library(); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        process = int(program.stdout.readline())
        assert is_running(process)
        program.kill()
        assert ends_within(process, 30)
