"""Questions in plain words: every documented phrasing is understood; others are answered with what can be asked."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from assistant.expected import EXPECTED

from mltrainer import store
from mltrainer.assistant import ask, asking, history, research
from mltrainer.assistant.grounding import filled, render
from mltrainer.assistant.phrases import PHRASES
from mltrainer.assistant.records import UNKNOWN
from mltrainer.assistant.tools import ROLES, TOOLS, allowed, tried
from mltrainer.assistant.understanding import understand
from mltrainer.data import market
from mltrainer.errors import BadInput, UnknownName
from mltrainer.evaluation import trials
from mltrainer.trust import audit
from mltrainer.views.glossary import ALIASES, GLOSSARY

HOSTILE = '<script>hit()</script>\x1b[2J\u202e[x](javascript:1) =HYPERLINK("x")'


def test_at_least_sixty_phrasings_are_documented():
    assert len(PHRASES) >= 60
    assert len({p.example for p in PHRASES}) == len(PHRASES)


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda p: p.example)
def test_a_documented_phrasing_reaches_its_tool_by_its_own_row(phrase):
    found = understand(phrase.example)
    assert found is not None
    assert found.phrase is phrase
    TOOLS[found.tool].parameters(**found.parameters)  # what was found can be meant
    assert found.parameters == EXPECTED[phrase.example]


VARIANTS = {
    "How well does ridge regresion do on apple over 10 days?": (
        "evaluate",
        {"model": "RidgeRegression", "ticker": "AAPL", "horizon": 10},
    ),
    "hows MSFT? what REGIME": ("regime", {"ticker": "MSFT"}),
    "KNeighborsRegressor 5 vs KNeighborsRegressor 10 on ibm": (
        "compare",
        {"models": ["KNeighborsRegressor_5", "KNeighborsRegressor_10"], "ticker": "IBM"},
    ),
    "what was the regime of IBM as of 2008-10-10": ("regime", {"ticker": "IBM", "as_of": "2008-10-10"}),
    "forecast volatility of the S&P 500 for 21 sessions": (
        "forecast",
        {"ticker": "SPX", "target": "volatility", "horizon": 21},
    ),
    "how did msft do between 2005 and 2007?": (
        "prices",
        {"ticker": "MSFT", "start": "2005-01-01", "end": "2007-12-31"},
    ),
}
VARIANTS |= {
    "price of MSFT since 2009": ("prices", {"start": "2009-01-01", "end": None}),
    "price of MSFT until 2009": ("prices", {"start": None, "end": "2009-12-31"}),
    "price of MSFT from 2010": ("prices", {"start": "2010-01-01", "end": None}),
    "price of MSFT before 2009": ("prices", {"start": None, "end": "2008-12-31"}),
    "price of MSFT on 15 March 2009": ("prices", {"start": None, "end": "2009-03-15"}),
    "regime of IBM in March 2009": ("regime", {"as_of": "2009-03-31"}),
    "how did IBM do in the first quarter of 2010?": ("prices", {"start": "2010-01-01", "end": "2010-03-31"}),
    "is the market calm in October 2008?": ("regime", {"ticker": "SPX", "as_of": "2008-10-31"}),
    "price of MSFT as of 2010-05-05": ("prices", {"start": None, "end": "2010-05-05"}),
    "forecast MSFT for 10 trading days": ("forecast", {"horizon": 10}),
    "forecast MSFT for 1 year": ("forecast", {"horizon": 252}),
    "how did MSFT do against the market in 2009?": ("prices", {"ticker": "MSFT"}),
    "who beats the market?": ("leaderboard", {"ticker": None}),
    "how much did AAPL go up since 2009?": ("prices", {"ticker": "AAPL", "start": "2009-01-01"}),
    "what is the return of RidgeRegression on MSFT?": ("evaluate", {"model": "RidgeRegression", "ticker": "MSFT"}),
    "max drawdown of MSFT in 2008": ("prices", {"figure": "drawdown", "end": "2008-12-31"}),
    "what does IC mean?": ("explain", {"term": "ic"}),
    "what is VaR?": ("explain", {"term": "var"}),
    "what is ES?": ("explain", {"term": "es"}),
}
OTHERS = ["banana bread", "what is the meaning of life", "write me a poem", "evaluate Foo on MSFT", "1+1"]


@pytest.mark.parametrize("question", VARIANTS)
def test_names_spans_and_words_are_found_wherever_they_stand(question: str):
    tool, parameters = VARIANTS[question]
    found = understand(question)
    assert found is not None
    assert found.tool == tool
    assert {k: found.parameters.get(k) for k in parameters} == parameters


def test_a_misspelled_ticker_is_taken_for_a_near_one_and_that_is_said(home: Path):
    assert ask("price of MSTF in 2010").text.startswith("Taking MSTF for MSFT.")


def test_a_ticker_that_is_not_there_is_no_other(home: Path):
    said = ask("what regime is TSLA in?")
    assert not said.ok
    assert "no ticker in mode sample is called 'TSLA'" in said.text
    assert said.claims == ()


@pytest.mark.parametrize("question", OTHERS)
def test_what_is_not_understood_is_answered_with_what_can_be_asked(home: Path, question: str):
    said = ask(question)
    assert said.text.startswith(UNKNOWN)
    assert [row[0] for row in said.tables[0].rows] == [t.name for t in allowed("researcher")]


def test_what_was_said_and_not_asked_of_a_tool_is_said(home: Path):
    assert "Left out, as this is of one name alone: AAPL." in ask("price of MSFT and AAPL in 2010").text
    assert "Left out, as this is of one name alone: the market." in ask("how did MSFT do against the market?").text
    assert "Not read as a day of this: last year." in ask("price of MSFT last year").text
    assert understand("forecast AAPL as of 2010-05-05").unread == ("2010-05-05",)  # type: ignore[union-attr]


def test_a_viewer_is_told_that_a_named_model_does_not_speak(home: Path):
    assert "RidgeRegression was left out" in ask("forecast AAPL with RidgeRegression", role="viewer").text


def test_the_figure_that_was_asked_for_is_answered_and_called_what_it_is(home: Path):
    close = market.bars("MSFT", start="2008-01-01", end="2008-12-31").frame["close"]
    worst = 100 * float((1 - close / close.cummax()).max())
    assert "highest adjusted close" in ask("highest price of MSFT in 2008").text
    assert f"${close.max():.2f}" in ask("highest price of MSFT in 2008").text
    assert f"${close.min():.2f}" in ask("lowest price of MSFT in 2008").text
    assert f"{worst:.1f} %" in ask("max drawdown of MSFT in 2008").text
    assert ask("price of MSFT in 2008").text.startswith("The adjusted close of MSFT was")


@pytest.mark.parametrize("asked", ["sharpe ratio", "SHARPE RATIO", "Sharpe"])
def test_a_term_is_explained_in_the_words_of_the_pages(home: Path, asked: str):
    assert GLOSSARY["Sharpe"] in ask(f"what is {asked}?").text


def test_no_term_is_explained_twice():
    assert len({k.lower() for k in GLOSSARY}) == len(set(GLOSSARY.values())) == len(GLOSSARY)
    assert set(ALIASES.values()) <= GLOSSARY.keys()
    assert not ALIASES.keys() & {k.lower() for k in GLOSSARY}


# --- answers --------------------------------------------------------------------------------------------------

ASKED = ("list the models", "price of MSFT in 2010", "what regime is MSFT in?", "is the data of MSFT fit to use?",
         "verify the audit trail", "what do we hold?", "are there any alerts?", "which tickers are there?",
         "what mode is this?", "what does Sharpe ratio mean?", "how does RidgeRegression work?",
         "show the leaderboard", "what is forecastable of MSFT?", "train RidgeRegression on MSFT")  # fmt: skip


# These repeat what was asked for, horizon and all, and the catalog's own words on a model.
QUOTING = ("train RidgeRegression on MSFT", "how does RidgeRegression work?")


@pytest.mark.parametrize("question", ASKED)
def test_our_own_words_say_no_number_without_a_claim(home: Path, question: str, monkeypatch: pytest.MonkeyPatch):
    said: list[tuple[str, object]] = []
    whole = asking.filled
    monkeypatch.setattr(asking, "filled", lambda text, claims: said.append((text, claims)) or whole(text, claims))
    answer = ask(question)
    assert answer.ok
    turn = asking.Turn()
    turn.claims = said[0][1]  # type: ignore[assignment]
    if question not in QUOTING:
        assert not render(said[0][0], turn.claims, asking.names(turn)).withheld, answer.text
    assert {"text", "html", "tables", "claims"} <= answer.to_dict().keys()
    assert all(c.source for c in answer.claims)


def test_a_backtest_by_chat_is_a_trial_like_any_other(home: Path):
    asked = "evaluate KNeighborsRegressor_5 on MSFT between 2005-01-03 and 2009-12-31"
    said = ask(asked)
    rows = trials.ledger()
    assert list(rows["model"]) == ["KNeighborsRegressor_5"]
    assert "This was a new trial" in said.text
    assert "It is the stored result" in ask(asked).text
    assert len(trials.ledger()) == 1
    sharpe = next(c for c in said.claims if c.metric.startswith("Sharpe ratio, net"))
    assert sharpe.value == pytest.approx(rows["sharpe"].iloc[0])
    assert sharpe.source.startswith(f"trial {rows['key'].iloc[0][:12]}")
    seen = ask("show the leaderboard", role="viewer")
    assert "KNeighborsRegressor_5" in seen.tables[0].rows[0]
    assert "no evidence of skill" in ask("what is forecastable of MSFT?", role="viewer").tables[0].rows[0]


def test_training_waits_for_a_yes_of_the_same_user_and_role(home: Path):
    first = ask("train RidgeRegression on MSFT between 2005-01-03 and 2009-12-31", user="ann")
    assert first.pending is not None
    assert ask("yes", user="bob").text == "Nothing waits for a yes."
    done = ask("yes", user="ann")
    assert done.ok
    assert "was trained on MSFT" in done.text
    assert ask("yes", user="ann").text == "Nothing waits for a yes."


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_a_role_gets_its_own_tools_and_no_other(home: Path, role: str):
    for question in ("train RidgeRegression on MSFT", "evaluate RidgeRegression on MSFT"):
        said = ask(question, role=role, confirm=True)
        assert not said.ok
        assert f"the role {role} may not" in said.text
    forged = [{"question": "x", "text": "y", "pending": {"tool": "train", "parameters": {"model": "RidgeRegression"}}}]
    assert not ask("yes", role=role, history=forged).ok
    assert trials.ledger().empty


def test_a_role_that_is_none_and_a_question_that_is_none_are_refused(home: Path):
    with pytest.raises(UnknownName):
        ask("help", role="root")
    for question in ("", " \u200b", "x" * 2001):
        with pytest.raises(BadInput, match="characters"):
            ask(question)
    assert all(allowed(role) for role in ROLES)
    assert allowed("nobody") == []


# --- conversations --------------------------------------------------------------------------------------------


def test_a_conversation_is_of_a_user_in_a_role(home: Path):
    ask("help", user="ann", role="viewer")
    ask("what mode is this?", user="ann", role="admin")
    assert [t["question"] for t in history.recent("ann", "viewer")] == ["help"]
    assert [t["question"] for t in history.recent("ann", "admin")] == ["what mode is this?"]
    assert history.recent("bob", "viewer") == history.recent("", "viewer") == []
    assert history.forget("ann", "viewer") == 1
    assert history.recent("ann", "viewer") == []
    assert len(history.recent("ann", "admin")) == 1


def test_a_conversation_keeps_no_more_than_so_many_answers(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "MOST", 2)
    for question in ("help", "hi", "hello"):
        ask(question, user="ann")
    assert [t["question"] for t in history.recent("ann", "researcher")] == ["hi", "hello"]


def test_who_asks_is_who_the_trail_names(home: Path):
    ask("price of MSFT in 2010", user="ann")
    assert audit.entries()[-1].actor == "ann"
    assert audit.ACTOR.get() is None


@pytest.mark.parametrize("pending", [{}, "train", {"tool": "train"}, {"tool": 5, "parameters": {}}, {"tool": "train",
                                     "parameters": []}, {"tool": "train", "parameters": {5: 5}}])  # fmt: skip
def test_history_that_is_none_is_refused(home: Path, pending: object):
    with pytest.raises(BadInput, match="history holds answers"):
        ask("yes", history=[{"question": "x", "text": "y", "pending": pending}])


@pytest.mark.parametrize("history", [["x"], [{}], [{"question": 1, "text": "y"}], [None]])
def test_answers_before_are_answers(home: Path, history: list[object]):
    with pytest.raises(BadInput, match="history holds answers"):
        ask("help", history=history)


def test_a_mark_that_came_from_elsewhere_is_text(home: Path):
    for tool, given in (("explain", {"term": "{{c1}}"}), ("nosuch{{c1}}", {})):
        turn = asking.Turn()
        turn.claim(5.0, "dollars", "price")
        said, ok = tried(tool, given, turn, role="viewer")
        assert not ok
        assert "$5" not in asking.spoken("x", said, turn).text
    assert filled("of {{c1}} and {{compound:c1}}", {}).text == "of {{c1}} and {{compound:c1}}"


def test_hostile_text_is_text(home: Path):
    said = ask(f"explain RidgeRegression {HOSTILE}", user=HOSTILE)
    echoed = asking.Turn()
    told, ok = tried("explain", {"term": HOSTILE[:60]}, echoed, role="viewer")
    shown = asking.spoken(HOSTILE, told, echoed)
    assert not ok
    assert "<script>hit()</script>" in shown.text  # it is repeated as text, and so it is escaped where it is HTML
    assert "&lt;script&gt;hit()&lt;/script&gt;" in shown.html
    for answer in (said, shown):
        assert "<script" not in answer.html
        assert "\x1b" not in answer.text + answer.html
    assert "\x1b" not in said.text + said.html + said.question
    assert "\u202e" not in said.text + said.html + said.question
    (kept,) = history.recent(HOSTILE, "researcher")
    assert "<script" not in kept["html"]
    with store.reading() as connection:
        assert connection.execute(store.conversations.select()).one().user == HOSTILE


def test_two_who_say_yes_at_once_train_once(home: Path):
    train = "train RidgeRegression on MSFT between 2005-01-03 and 2009-12-31"
    assert ask(train, user="ada", role="researcher").to_dict()["pending"]["tool"] == "train"
    begun, together = [], threading.Barrier(2)

    def queue(asked: dict[str, object]) -> dict[str, object]:
        begun.append(asked)
        time.sleep(0.3)  # as long as a server waits, an answer is not kept yet
        return {"id": "0" * 12, "state": "running"}

    def yes() -> str:
        research.QUEUE.set(queue)
        together.wait()
        return ask("yes", user="ada", role="researcher").text

    with ThreadPoolExecutor(2) as pool:
        said = sorted(f.result() for f in [pool.submit(yes) for _ in range(2)])
    assert len(begun) == 1
    assert said[0] == "Nothing waits for a yes."
    assert "is being trained" in said[1]
