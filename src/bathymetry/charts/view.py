"""Layers made one view: as wide as its container, with its key, its words and the theme."""

from collections.abc import Sequence
from typing import cast

import altair as alt

from bathymetry.charts.key import HIDDEN, Entry, usermeta
from bathymetry.charts.theme import configuration


def view(
    layers: Sequence[alt.Chart],
    *,
    key: Sequence[Entry],
    height: int,
    description: str,
    clipped: bool,
    marks: Sequence[Entry] = (),
) -> alt.LayerChart:
    """Put layers together.

    Args:
        layers: From the back to the front.
        key: What its key lists.
        height: In pixels.
        description: What a screen reader says of it.
        clipped: Whether something drawn leaves the plot.
        marks: What else a printed figure's key lists.

    Returns:
        A chart that shows itself the same in a notebook and on the page; no global setting is changed.
    """
    # Vega names a layer's marks after the layer, and draws nothing at all where two have one name.
    names = [layer.name for layer in layers if isinstance(layer.name, str)]
    assert len(set(names)) == len(names), f"layers share a name: {names}"
    chart = alt.layer(*layers, width="container", height=height, description=description)
    chart.usermeta = usermeta(key, marks, clipped)
    chart = cast(alt.LayerChart, chart.add_params(alt.param(name=HIDDEN, value=[])))
    chart.config = alt.Config.from_dict(configuration())
    return chart
