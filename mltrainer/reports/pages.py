"""From an executed notebook, or a leaderboard, to one HTML file that opens offline and asks nobody for anything."""

from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import nbformat
import plotly.graph_objects as go
import plotly.io as pio
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from plotly.offline import get_plotlyjs

from mltrainer import views
from mltrainer.paths import look

PLOTLY_MIME = "application/vnd.plotly.v1+json"
TEMPLATES = Path(__file__).parent / "templates"


def figure_html(figure: go.Figure) -> str:
    """A figure under its finding; the page it is put into carries plotly.js once."""
    finding, bare = views.untitled(figure)
    settings = dict(views.CONFIG)  # plotly takes out of it what it has read
    div = pio.to_html(bare, include_plotlyjs=False, full_html=False, config=settings)
    return f"<figure><figcaption>{escape(finding)}</figcaption>{div}</figure>"


class _Figures(Preprocessor):
    """nbconvert leaves plotly's mime bundles out of HTML; put the figure in their place."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> Any:
        for output in cell.get("outputs", []):
            bundle = output.get("data", {}).get(PLOTLY_MIME)
            if bundle:
                figure = go.Figure(data=bundle["data"], layout=bundle["layout"], skip_invalid=True)
                output["data"] = {"text/html": figure_html(figure)}
        return cell, resources


def notebook_html(path: Path, *, title: str) -> str:
    """Render an executed notebook as a page: markdown and outputs, no code."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    exporter = HTMLExporter(
        template_name="basic", exclude_input=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    exporter.register_preprocessor(_Figures, enabled=True)
    body, _ = exporter.from_notebook_node(notebook)
    return page("family", title=title, body=body)


def page(name: str, **content: Any) -> str:
    """Fill one of our page templates; the look and plotly.js are put inside."""
    return _templates().get_template(f"{name}.html.j2").render(look=look(), plotly=get_plotlyjs(), **content)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
