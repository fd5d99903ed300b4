"""From an executed notebook, or a leaderboard, to an HTML file that opens offline and asks nobody for anything.

Words and tables stand in the page. What draws its figures, five megabytes, lies once beside all pages of a run and is
loaded after the page was shown; `whole` puts it into a page that has to travel alone.
"""

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mltrainer import views
from mltrainer.paths import figures_script, look

PLOTLY_MIME = "application/vnd.plotly.v1+json"
SCRIPT = "plotly.min.js"
TEMPLATES = Path(__file__).parent / "templates"


def figure_html(figure: go.Figure) -> str:
    """A figure under its finding, as data that the script at the end of a page draws."""
    finding, drawing = views.drawing(figure)
    data = json.dumps(drawing, separators=(",", ":")).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})
    return (
        f"<figure><figcaption>{escape(finding)}</figcaption>"
        f'<div class="plotly-graph-div" style="height:{drawing["layout"]["height"]}px"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def _drawn(output: Any) -> None:
    """Nbconvert leaves plotly's mime bundles out of HTML; put the figure in their place."""
    if bundle := output.get("data", {}).get(PLOTLY_MIME):
        figure = go.Figure(data=bundle["data"], layout=bundle["layout"], skip_invalid=True)
        output["data"] = {"text/html": figure_html(figure)}


def notebook_html(path: Path, *, title: str, of_run: bool = True) -> str:
    """Render an executed notebook as a page: markdown and outputs, no code; a page of a run leads back to its index."""
    import nbformat  # a second and a half, which an index of pages that are there need not wait for
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for output in (o for c in notebook.cells for o in c.get("outputs", [])):
        _drawn(output)
    exporter = HTMLExporter(
        template_name="basic", exclude_input=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    return page("family", title=title, body=body, of_run=of_run)


def page(name: str, **content: Any) -> str:
    """Fill one of our page templates; the look is put inside."""
    template = _templates().get_template(f"{name}.html.j2")
    return template.render(look=look(), figures_script=figures_script(), script=SCRIPT, **content)


def whole(page: str) -> str:
    """A page that carries in itself what draws its figures.

    >>> len(whole('<script id="plotly" type="text/plain" data-file="plotly.min.js"></script>')) > 10**6
    True
    """
    return page.replace(f'data-file="{SCRIPT}"></script>', f">{get_plotlyjs()}</script>")


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
