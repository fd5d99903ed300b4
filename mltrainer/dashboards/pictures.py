"""Pictures: a figure under its finding, on a served page and in JupyterLab alike."""

import json
import os
from html import escape
from typing import Any

import ipywidgets as widgets

from mltrainer import views


def caption(name: str, figure: Any) -> str:
    """The finding of a figure, and on a served page the place where it is drawn, as HTML.

    `name` tells a page's figures apart: one that is drawn anew stays in its place.
    """
    finding, drawing = views.drawing(figure)
    text = f'<p class="finding">{escape(finding)}</p>'
    if "MLTRAINER_SERVE" not in os.environ:
        return text
    return f'{text}<div data-chart="{escape(name)}" data-figure="{escape(json.dumps(drawing))}"></div>'


class Picture(widgets.VBox):
    """A figure under its finding.

    A page of `mltrainer serve` draws it with the plotly it has loaded, in place, in a third of the time of JupyterLab's
    extension, which draws each figure three times. In Lab it is an output like any other.
    """

    def __init__(self, name: str) -> None:
        self.name, self.text, self.plain = name, widgets.HTML(), widgets.Output()
        super().__init__([self.text, self.plain])
        self.add_class("picture")

    def show(self, figure: Any) -> None:
        """Put `figure` in the place of the one before."""
        if "MLTRAINER_SERVE" not in os.environ:
            finding, drawing = views.drawing(figure)
            bundle = {"application/vnd.plotly.v1+json": drawing, "text/plain": finding}
            self.plain.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)
        self.put(caption(self.name, figure))

    def put(self, caption: str) -> None:
        """Show the HTML of a figure; none leaves no room for one."""
        self.text.value = caption
        (self.remove_class if caption else self.add_class)("empty")

    def clear(self) -> None:
        """Show nothing."""
        self.plain.outputs = ()
        self.put("")
