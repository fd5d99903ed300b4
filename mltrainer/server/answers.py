"""Pages without a kernel: what a page last showed, and the chat, made by the server alone.

A kernel is started only for whoever chooses what nobody has looked at before, and for a page whose answer is stale.
"""

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mltrainer.dashboards import answers
from mltrainer.dashboards.answers import Answer
from mltrainer.errors import MltrainerError
from mltrainer.server.identity import HOLDER
from mltrainer.settings import settings

DASHBOARDS = Path(answers.__file__).parent
log = logging.getLogger("mltrainer.server")


def current(name: str, query: Mapping[str, str]) -> Answer | None:
    """The answer of a page at a query, where there is one that still holds; one that asks for `live` wants a kernel."""
    if "live" in query or name not in answers.DEPENDS:
        return None
    try:
        return answers.stored(name, answers.canonical(query), answers.basis(name))
    except (MltrainerError, OSError) as error:
        log.warning("the answer of %s cannot be checked: %s", name, error)
        return None


def page(answer: Answer, notebook: Path, resources: Mapping[str, Any]) -> str:
    """The whole page of an answer."""
    told = {**resources, "here": answer.page}
    return _template().render(resources=told, title=_question(notebook, notebook.stat().st_mtime_ns), answer=answer)


def chat(notebook: Path, resources: Mapping[str, Any], name: str, role: str) -> str:
    """The chat page of somebody: its questions go to /api/chat, in the role that the server knows them in."""
    from mltrainer import views
    from mltrainer.assistant.asking import CANNOT, START

    who = f"You are {name}, {role}; what you ask is kept for you, and Forget deletes it."
    if name == HOLDER:
        who = "You came with the server's own token, which many hold: you are a viewer, and what you ask is not kept."
    told = {"banner": views.banner(settings().data_mode, ""), "cannot": CANNOT, "start": START, "who": who}
    told["style"] = (DASHBOARDS / "chat.css").read_text(encoding="utf-8")
    title = _question(notebook, notebook.stat().st_mtime_ns)
    return _template("chat").render(resources=resources, title=title, **told)


@cache
def _template(name: str = "answer") -> Any:
    loader = FileSystemLoader(Path(__file__).parent / "template")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return made.get_template(f"{name}.html.j2")


@cache
def _question(notebook: Path, _changed: int) -> str:
    """The question a notebook opens with."""
    first = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    return "".join(first["source"]).lstrip("# ").splitlines()[0]
