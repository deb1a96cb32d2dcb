"""Reads what a chart says, the way Vega does: layers, their rows, their titles."""

from typing import Any

import altair as alt
import numpy as np

from bathymetry.charts.figure import Panel


def chart_of(panels: list[Panel]) -> alt.LayerChart:
    (panel,) = panels
    return panel.chart


def layers(chart: alt.LayerChart) -> list[dict[str, Any]]:
    return list(chart.to_dict()["layer"])


def rows_of(chart: alt.LayerChart, layer: dict[str, Any]) -> list[dict[str, Any]]:
    data = layer.get("data") or chart.to_dict()["data"]  # which stands above layers that share it
    return list(chart.to_dict()["datasets"][data["name"]] if "name" in data else data["values"])


def member_rows(chart: alt.LayerChart) -> list[dict[str, Any]]:
    return rows_of(chart, next(layer for layer in layers(chart) if layer.get("name") == "members"))


def centre_rows(chart: alt.LayerChart) -> list[dict[str, Any]]:
    return rows_of(chart, next(layer for layer in layers(chart) if layer.get("name") == "hover"))


def lines(rows: list[dict[str, Any]]) -> dict[tuple[str, int], np.ndarray]:
    """Each member's y in the order of its x; None becomes NaN."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in rows:
        y = np.nan if row["y"] is None else row["y"]
        found.setdefault((row["series"], row["member"]), []).append((row["x"], y))
    return {who: np.array([y for _, y in sorted(points)]) for who, points in found.items()}


def axis_titles(chart: alt.LayerChart) -> set[tuple[str, str]]:
    return {
        (channel, encoding["title"])
        for layer in layers(chart)
        for channel, encoding in layer["encoding"].items()
        if channel in ("x", "y") and isinstance(encoding, dict) and "title" in encoding
    }
