"""A persona of Jupyter AI: the chat's own answers in JupyterLab's chat. Only Jupyter AI's entry point imports this.

What it says is text: an answer stands in a fence, so that no name and no word of it becomes a link, a picture or HTML.
"""

import asyncio
import re
from pathlib import Path
from typing import Any

from jupyter_ai_persona_manager import BasePersona, PersonaDefaults  # type: ignore[import-not-found, unused-ignore]

from mltrainer import views
from mltrainer.assistant.asking import CANNOT, ask
from mltrainer.assistant.history import plain
from mltrainer.assistant.records import Answer, listing
from mltrainer.errors import MltrainerError
from mltrainer.settings import settings

ROLE = "researcher"  # Lab is one researcher's own
MOST = 8  # answers before this one that count, of each who asks
MENTION = re.compile(r"^\s*@\S+\s*")


class MlTrainerPersona(BasePersona):  # type: ignore[misc, unused-ignore]
    """Answers as `mltrainer ask` does: the same tools, the same claims, the same withheld figures."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before: dict[str, list[dict[str, Any]]] = {}  # by who asks: a yes is of whoever was asked

    @property
    def defaults(self) -> PersonaDefaults:
        """What Jupyter AI shows of it."""
        said = f"Models, evidence and data of this installation. {CANNOT}"
        avatar = str(Path(__file__).with_name("persona.svg"))
        return PersonaDefaults(name="mlTrainer", description=said, avatar_path=avatar, system_prompt="")

    async def process_message(self, message: Any) -> None:
        """Answer one message."""
        before = self.before.get(message.sender, [])
        try:
            answer = await asyncio.to_thread(ask, MENTION.sub("", message.body), role=ROLE, history=before)
        except MltrainerError as error:
            self.send_message(fenced(str(error)))
            return
        self.before[message.sender] = [*before, plain(answer)][-MOST:]
        self.send_message(fenced(words(answer)))

    async def handle_uncaught_exception(self, exc: Exception) -> None:
        """Say that it broke, and not how: Jupyter AI would show the traceback to everybody in the chat."""
        self.send_message("It broke; the server's log says how.")


def words(answer: Answer) -> str:
    """All that an answer says, as text: its words, its tables, where its figures come from, and of which data."""
    origins = "\n".join(
        f"{c.text}: {c.metric} {' '.join(filter(None, (c.model, c.ticker)))}, {c.as_of or 'no day'}, {c.source}"
        for c in answer.claims
    )
    mode = f"{settings().data_mode.upper()}: {views.mode_words(settings().data_mode)}"
    return "\n\n".join(filter(None, (answer.text, listing(answer.tables), origins, mode)))


def fenced(text: str) -> str:
    """Text that Markdown shows as it is, whatever stands in it.

    >>> fenced("a ``` b").splitlines()
    ['````text', 'a ``` b', '````']
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
