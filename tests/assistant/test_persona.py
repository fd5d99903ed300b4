"""The persona of Jupyter AI, on Jupyter AI's own classes where they are installed."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from apart import apart

pytest.importorskip("jupyter_ai_persona_manager", reason="pip install jupyter-ai-persona-manager")
HOSTILE = "```\n<img src=x onerror=alert(1)> [a](javascript:alert(1)) **MSFT**"


def said(place: Path, *questions: str) -> list[str]:
    """What the persona writes into a chat of its own; a question may begin with who asks and a bar."""
    from jupyterlab_chat.models import Message
    from jupyterlab_chat.websocket_model import WsChatModel

    from mltrainer.assistant.persona import MlTrainerPersona

    place.mkdir(parents=True, exist_ok=True)

    async def talk() -> list[str]:
        room = WsChatModel("a.chat", place)
        persona = MlTrainerPersona(chat=room)
        for n, question in enumerate(questions):
            who, _, text = question.rpartition("|")
            await persona.on_message(Message(body=text, id=str(n), time=0.0, sender=who or "ann"))
        return [m.body for m in room.get_messages() if m.sender == persona.id]

    return apart(talk())


def test_an_answer_is_text_with_its_figures_their_origin_and_the_kind_of_data(home: Path):
    (words,) = said(home, "@mlTrainer what is the price of MSFT in 2010?")
    assert words.startswith("```text\nThe adjusted close of MSFT was $")
    assert "SAMPLE: real historical data" in words
    figure = re.search(r"\$[0-9.]+", words)[0]
    assert f"{figure}: " in words


def test_hostile_text_stays_in_its_fence(home: Path):
    (words,) = said(home, HOSTILE)
    fence = words.splitlines()[0].removesuffix("text")
    assert words.count(fence) == 2
    assert words.endswith(fence)


def test_a_yes_is_of_whoever_was_asked(home: Path):
    asked, other = said(home, "ann|train RidgeRegression on MSFT", "ben|yes")
    assert "yes" in asked
    assert "Nothing waits for a yes." in other


def test_what_breaks_shows_no_traceback(home: Path, monkeypatch: pytest.MonkeyPatch):
    from mltrainer.assistant import persona

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(persona, "ask", broken)
    assert said(home, "hello") == ["It broke; the server's log says how."]


def test_the_entry_point_names_the_persona():
    from jupyter_ai_persona_manager import BasePersona

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["jupyter_ai.personas"]["mltrainer"].split(":")
    assert issubclass(getattr(import_module(module), name), BasePersona)
