"""The chat page without a browser: a question becomes an answer, what breaks becomes a number."""

from pathlib import Path

import pytest
from apart import apart

from mltrainer.assistant import history
from mltrainer.dashboards import chat, incidents
from mltrainer.trust import audit


def asked(box: chat.ChatBox, *questions: str) -> list[dict[str, str]]:
    for question in questions:
        apart(box.answer(question))
    return list(box.messages)


def test_a_question_and_its_answer_are_kept_for_who_asked(home: Path):
    box = chat.ChatBox(role="viewer", user="ann")
    *_, last = asked(box, "which tickers are there?")
    assert "MSFT" in last["html"]
    assert [m["role"] for m in chat.ChatBox(role="viewer", user="ann").messages] == ["user", "bot"]
    assert chat.ChatBox(role="admin", user="ann").messages == []
    assert chat.ChatBox(role="viewer", user="bob").messages == []
    box._received(box, {"type": "forget"}, None)
    assert history.recent("ann", "viewer") == box.messages == []


def test_a_role_holds_on_the_page(home: Path):
    *_, last = asked(chat.ChatBox(role="viewer", user=""), "train RidgeRegression on MSFT")
    assert "the role viewer may not" in last["text"]


def test_what_breaks_is_a_number_and_what_cannot_be_meant_a_sentence(home: Path, monkeypatch: pytest.MonkeyPatch):
    incidents._log.cache_clear()
    box = chat.ChatBox(role="viewer", user="")
    assert "characters" in asked(box, "x" * 3000)[-1]["text"]
    monkeypatch.setattr(chat, "answered", lambda *_: 1 / 0)
    last = asked(box, "help")[-1]
    assert "Something went wrong (" in last["html"]
    assert "ZeroDivisionError" in (home / "logs" / "incidents.log").read_text()
    assert box.busy is False


@pytest.mark.parametrize("message", [None, "ask", {}, {"type": "ask"}, {"type": "ask", "text": 5}, {"type": "run"}])
def test_a_message_that_is_no_question_does_nothing(home: Path, message: object):
    box = chat.ChatBox(role="viewer", user="")
    box._received(box, message, None)
    assert box.messages == []


def test_there_is_one_question_at_a_time_whatever_the_browser_says_of_it(home: Path):
    box = chat.ChatBox(role="viewer", user="")

    async def two() -> None:
        box._received(box, {"type": "ask", "text": "help"}, None)
        box.busy = False  # as a browser can set it
        box._received(box, {"type": "ask", "text": "help"}, None)
        await box.task

    apart(two())
    assert [m["role"] for m in box.messages] == ["user", "bot"]


def test_a_served_page_is_a_viewers(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_SERVE", "1")
    monkeypatch.setenv("MLTRAINER_ROLE", "admin")  # nothing that an environment says makes it another's
    page = chat.ChatPage.show()
    assert isinstance(page, chat.ChatPage)
    assert page.box.role == "viewer"
    monkeypatch.delenv("MLTRAINER_SERVE")
    assert chat.ChatPage.show().box.role == "researcher"  # type: ignore[attr-defined]


def test_a_yes_on_the_page_is_the_persons_and_never_a_models(home: Path, monkeypatch: pytest.MonkeyPatch):
    box = chat.ChatBox(role="researcher", user="ann")
    asked(box, "train RidgeRegression on MSFT between 2005-01-03 and 2009-12-31")
    monkeypatch.setenv("MLTRAINER_LLM", "test:none")
    monkeypatch.setattr(chat.language, "streamed", lambda *_: 1 / 0)
    assert "was trained on MSFT" in asked(box, "yes")[-1]["text"]


def test_the_trail_names_who_asked_on_the_page(home: Path):
    asked(chat.ChatBox(role="viewer", user="eve"), "price of PFE in 2009")
    assert audit.entries()[-1].actor == "eve"
    assert audit.ACTOR.get() is None
