"""The chat page: questions in plain words, figures that lead to where they came from."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import ipywidgets as widgets
import traitlets

from mltrainer import views
from mltrainer.assistant import Answer, history, language
from mltrainer.assistant.asking import CANNOT, START, answered, by_model, checked
from mltrainer.dashboards.incidents import incident
from mltrainer.dashboards.page import Basis, Page
from mltrainer.errors import BadInput
from mltrainer.settings import settings
from mltrainer.trust import audit

HERE = Path(__file__).parent


class ChatBox(anywidget.AnyWidget):
    """The conversation and its input; a question comes as one message, an answer goes back in pieces.

    Whatever a person or a name wrote is put in as text; the HTML of an answer was escaped where it was made.
    """

    _esm = HERE / "chat.js"
    _css = HERE / "chat.css"
    messages: Any = traitlets.List().tag(sync=True)
    suggestions: Any = traitlets.List(list(START)).tag(sync=True)
    busy: Any = traitlets.Bool(False).tag(sync=True)

    def __init__(self, *, role: str, user: str, **more: Any) -> None:
        self.role, self.user = role, user
        self.task: asyncio.Task[None] | None = None  # the answer that is being made
        self.before = history.recent(user, role)
        messages = [m for turn in self.before for m in _of(turn)]
        if messages:
            messages[-1]["waits"] = self.before[-1].get("pending") is not None
        super().__init__(messages=messages, **more)
        self.on_msg(self._received)

    def _received(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict) or (self.task is not None and not self.task.done()):
            return  # `busy` is for the eye: a browser can set it
        if content.get("type") == "ask" and isinstance(content.get("text"), str):
            self.task = asyncio.get_running_loop().create_task(self.answer(content["text"]))
        elif content.get("type") == "forget":
            history.forget(self.user, self.role)
            self.before, self.messages = [], []

    async def answer(self, question: str) -> None:
        """Answer a question, piece by piece as it may be shown; what breaks is an incident number."""
        self.busy = True
        asked = {"role": "user", "text": question[:2000]}
        self.messages = [*self.messages, asked, {"role": "bot", "text": ""}]
        try:
            with audit.acting(self.user):
                told = await self._answered(question)
            self.suggestions = list(told.suggestions)
            shown = {"role": "bot", "html": told.html, "text": told.text, "waits": told.pending is not None}
        except BadInput as error:
            shown = {"role": "bot", "text": str(error)}
        except Exception:
            shown = {"role": "bot", "html": incident("the chat"), "text": ""}
        finally:
            self.busy = False
        self.messages = [*self.messages[:-1], shown]

    async def _answered(self, question: str) -> Answer:
        said = checked(question, self.role)
        if by_model(said, self.before):
            async for piece in language.streamed(said, self.role, self.before):
                if isinstance(piece, Answer):
                    told = piece
                else:
                    self.send({"type": "piece", "text": piece})
        else:
            told = await asyncio.to_thread(answered, said, self.role, self.before)
        self.before = [*self.before, history.plain(told)]
        if self.user:
            await asyncio.to_thread(history.write, self.user, self.role, told)
        return told


def _of(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A kept turn as messages."""
    return [{"role": "user", "text": turn["question"]}, {"role": "bot", "html": turn["html"], "text": turn["text"]}]


class ChatPage(Page):
    """What would you like to know?"""

    NAME: ClassVar[str] = ""  # what was said to one visitor is kept for no other

    def __init__(self, state: Mapping[str, str], role: str, user: str) -> None:
        self.box, self.note = ChatBox(role=role, user=user), widgets.HTML()
        super().__init__([self.note, self.box], state)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """A conversation. `mltrainer serve` shows it without a kernel, by /api/chat; under another Voilà anybody may
        have come, who is a viewer and of whom nothing is kept.
        """
        return cls(state, "viewer" if "MLTRAINER_SERVE" in os.environ else "researcher", "")

    def fill(self) -> None:
        """Say what data this is, and what the page cannot do."""
        self.banner.value = views.banner(settings().data_mode, "")
        self.note.value = f'<p class="quiet">Each figure leads to the result it came from. {CANNOT}</p>'
