"""Pictures: a figure under its finding, on a served page and in JupyterLab alike."""

import json
import os
from html import escape
from typing import Any

import ipywidgets as widgets

from mltrainer import views


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
        finding, drawing = views.drawing(figure)
        caption = f'<p class="finding">{escape(finding)}</p>'
        if "MLTRAINER_SERVE" in os.environ:
            caption += f'<div data-chart="{escape(self.name)}" data-figure="{escape(json.dumps(drawing))}"></div>'
        else:
            bundle = {"application/vnd.plotly.v1+json": drawing, "text/plain": finding}
            self.plain.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)
        self.put(caption)

    def put(self, caption: str) -> None:
        """Show the HTML of a figure; none leaves no room for one."""
        self.text.value = caption
        (self.remove_class if caption else self.add_class)("empty")

    def clear(self) -> None:
        """Show nothing."""
        self.plain.outputs = ()
        self.put("")
