"""A chart with its words, ready for a figure."""

import altair as alt

from bathymetry.charts.figure import Panel
from bathymetry.core.errors import InputError


def panel(chart: alt.Chart | alt.LayerChart, title: str) -> Panel:
    """Make a panel of a chart that says in words what it shows.

    Args:
        chart: A chart of one of the kinds here.
        title: What stands above it.

    Returns:
        The panel; what a screen reader says of it is the chart's own description.

    Raises:
        InputError: If it is no chart.
    """
    if not isinstance(chart, alt.TopLevelMixin):
        raise InputError("chart", type(chart).__name__, "expected a chart, such as charts.curves makes")
    words = chart.description
    return Panel(chart=chart, title=title, description=words if isinstance(words, str) else title)
