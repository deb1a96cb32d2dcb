"""A chart with its words, ready for a figure."""

import altair as alt

from bathymetry.charts.figure import Panel


def panel(chart: alt.Chart | alt.LayerChart, title: str) -> Panel:
    """Make a panel of a chart that says in words what it shows.

    Args:
        chart: A chart of one of the kinds here.
        title: What stands above it.

    Returns:
        The panel; what a screen reader says of it is the chart's own description.
    """
    words = chart.description
    return Panel(chart=chart, title=title, description=words if isinstance(words, str) else title)
