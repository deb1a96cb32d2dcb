"""The functions with explicit titles, for studies that still use them; to be removed with the last of these."""

from typing import Any

import altair as alt
import xarray as xr

from bathymetry.charts.figure import Panel
from bathymetry.charts.labels import attrs
from bathymetry.charts.line_charts import lines, predictions
from bathymetry.charts.point_charts import dots, paths, scatter


def _named(values: Any, title: str, scale: str, **dims: tuple[str, str]) -> Any:
    if not isinstance(values, xr.DataArray):
        return values
    plain = values.drop_vars([name for name in ("split",) if name in values.coords and values[name].ndim == 0])
    if "examples" in plain.dims:
        plain = plain.rename(examples="who")
    plain = plain.drop_vars("examples", errors="ignore").assign_attrs(attrs(title, scale))
    for name, words in dims.items():
        if name in plain.coords:
            coordinate = plain.coords[name].copy()
            coordinate.attrs = attrs(*words)
            plain = plain.assign_coords({name: coordinate})
    return plain


def curves(
    values: Any, *, x: str, x_title: str, y_title: str, series: str | None = None, x_scale: str = "epoch",
    y_scale: str = "log", y_domain: Any = None, examples: int | None = None, **more: Any,
) -> alt.LayerChart:  # fmt: skip
    whole = _named(values, y_title, y_scale, **{str(x): (x_title, x_scale)})
    if examples is not None:
        whole = whole.assign_coords(examples=examples)
    name = "who" if series == "examples" else series
    return lines(whole, x, name, domain=y_domain, **more)[0].chart  # type: ignore[return-value]


def dot_chart(
    values: Any, *, category: str, title: str, scale: str = "linear", examples: int | None = None, **more: Any
) -> alt.LayerChart:
    whole = _named(values, title, scale)
    if examples is not None:
        whole = whole.assign_coords(examples=examples)
    return dots(whole, category, **more)[0].chart  # type: ignore[return-value]


def prediction_chart(
    prediction: Any, truth: Any, *, x: str = "x", x_title: str, y_title: str, series_index: int = 0,
    y_domain: Any = None, **more: Any,
) -> alt.LayerChart:  # fmt: skip
    whole = _named(prediction, y_title, "linear", **{str(x): (x_title, "linear")})
    copies = xr.concat([whole] * (series_index + 1), xr.Variable("copy", list(range(series_index + 1))))
    panels = predictions(copies.assign_attrs(whole.attrs), truth, facet="copy", x=x, domain=y_domain, **more)
    return panels[-1].chart  # type: ignore[return-value]


def scatter_chart(
    x: Any, y: Any, *, group: str, x_title: str, y_title: str, x_scale: str = "linear", y_scale: str = "linear",
    **more: Any,
) -> alt.LayerChart:  # fmt: skip
    return scatter(_named(x, x_title, x_scale), _named(y, y_title, y_scale), group, **more)[0].chart  # type: ignore


def path_chart(
    points: Any, colour: Any, *, titles: tuple[str, str], colour_title: str = "loss", **more: Any
) -> alt.LayerChart:
    named = points.assign_coords(component=list(titles))
    return paths(named, _named(colour, colour_title, "log"), **more)[0].chart  # type: ignore[return-value]


def panel(chart: Any, title: str) -> Panel:
    return Panel(chart, title)
