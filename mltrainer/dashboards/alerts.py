"""Alerts: what happened that somebody wanted to know of, what it rests on, and how often such an alert was wrong."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from mltrainer import views
from mltrainer.dashboards.incidents import guarded
from mltrainer.dashboards.page import Basis, Page, fold, foot
from mltrainer.settings import settings
from mltrainer.trading import alerts
from mltrainer.trading.alerts import ledger
from mltrainer.trading.alerts.kinds import KINDS

ALL, STANDING = "all", "standing"
RANK = {"critical": 0, "warning": 1, "success": 2, "info": 3}
PILLS = {"critical": "refused", "warning": "warning", "success": "evidence", "info": "none"}
MOST = 60  # cards; the rest is in the table of the history
NOBODY = '<p class="quiet" data-without="alerts:acknowledge" hidden>A researcher or an admin acknowledges alerts.</p>'


class AlertsPage(Page):
    """What needs a look? Alerts by severity, what fired them, and how such alerts did before."""

    NAME = "alerts"
    CONTROLS = ("State", "Severity", "Kind", "Replay")
    EVERY = 60

    def __init__(self, found: Sequence[alerts.Alert], state: Mapping[str, str], basis: Basis = Basis()) -> None:
        self.alerts = list(found)
        self.finding, self.cards, self.past, self.replay, self.rules = (widgets.HTML() for _ in range(5))
        parts: list[widgets.Widget] = [self.finding, self.cards, self.past, self.replay, self.rules]
        # Whoever runs Lab may write. A served page cannot: it knows nobody, and its visitor's browser asks the server.
        if "MLTRAINER_SERVE" not in os.environ:
            parts.insert(1, self._acknowledging())
        super().__init__(parts, state, basis)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """The page of all alerts of the mode in force."""
        return cls(ledger.alerts(), state, basis)

    def load(self) -> None:
        """The alerts as they are now."""
        self.alerts = ledger.alerts()

    def _acknowledging(self) -> widgets.Widget:
        self.choice = widgets.Dropdown(description="Acknowledge")
        button = widgets.Button(description="I have seen it")
        button.on_click(self.acknowledge)
        return widgets.HBox([self.choice, button])

    @guarded
    def acknowledge(self, _click: object = None) -> None:
        """Write that the chosen alert was seen, and show the list as it is now."""
        if self.choice.value:
            alerts.acknowledge(self.choice.value)
            self.alerts = ledger.alerts()
            self.choose()

    def settle(self, state: Mapping[str, str]) -> None:
        """Whatever there are alerts of; those that stand come first."""
        names = [("not resolved", STANDING), *((s, s) for s in ledger.STATES), ("all", ALL)]
        self.offer("State", names, state)
        self.offer("Severity", [("all", ALL), *((s, s) for s in RANK)], state)
        kinds = sorted({a.kind for a in self.alerts})
        self.offer("Kind", [("all", ALL), *((k.replace("_", " "), k) for k in kinds)], state)
        tickers = sorted({a.subject for a in self.alerts if a.subject.isalnum()})
        self.offer("Replay", [("not shown", ""), *((t, t) for t in tickers)], state)
        if hasattr(self, "choice"):
            new = [a for a in self.alerts if a.state == "new"]
            self.choice.options = [("choose", ""), *((f"{a.session} {a.message}", a.id) for a in new)]

    def chosen(self) -> list[alerts.Alert]:
        """The alerts that the controls ask for, worst first, the newest first among equals."""
        state, severity, kind = (self.controls[c].value for c in ("State", "Severity", "Kind"))
        found = [a for a in self.alerts if state == ALL or a.state == state or (state == STANDING and _stands(a))]
        found = [a for a in found if severity in (ALL, a.severity) and kind in (ALL, a.kind)]
        newest = sorted(found, key=lambda a: a.session, reverse=True)
        return sorted(newest, key=lambda a: RANK.get(a.severity, len(RANK)))

    def fill(self) -> None:
        """Sentence, cards, history, replay and the rules."""
        found, ticker = self.chosen(), self.controls["Replay"].value
        last = max((a.session for a in self.alerts), default="")
        self.banner.value = views.banner(settings().data_mode, last)
        self.finding.value = _finding(self.alerts)
        none = "<p>No alert is in this state; choose another state to see the others.</p>" if self.alerts else ""
        self.cards.value = (NOBODY + "".join(map(_card, found[:MOST]))) if found else none
        self.past.value = _history(self.alerts)
        self.replay.value = self.section("replay", str(ticker), lambda: _replay(str(ticker))) if ticker else ""
        self.rules.value = _rules()
        self.foot.value = foot([], self.state, "An alert is written once for each condition and period.")


def _stands(alert: alerts.Alert) -> bool:
    return alert.state != "resolved"


def _finding(found: Sequence[alerts.Alert]) -> str:
    """The sentence that answers the page's question, and how many there are of each."""
    standing = [a for a in found if _stands(a)]
    if not found:
        lede = "No alert was ever raised here."
        advice = (
            "<p><code>mltrainer alerts check --ticker MSFT</code> asks every condition; run it after each session.</p>"
        )
        return f'<p class="lede">{lede}</p>{advice}'
    worst = min(standing, key=lambda a: (RANK.get(a.severity, 9), a.session), default=None)
    if worst is None:
        lede = f"Nothing needs a look: all {len(found)} alerts are over."
    else:
        n = len(standing)
        lede = f"{n} alert{' stands' if n == 1 else 's stand'}; the gravest, of {worst.session}, says: {worst.message}."
    counts = [
        ("Alerts standing", str(len(standing)), f"of {len(found)} that were ever raised"),
        ("Critical", str(sum(a.severity == "critical" for a in standing)), "among those standing"),
        ("Acknowledged", str(sum(a.state == "acknowledged" for a in standing)), "somebody has seen them"),
    ]
    return f'<p class="lede">{escape(lede)}</p>{views.figures(counts, terms=True)}'


def _card(alert: alerts.Alert) -> str:
    values = [[str(k), v if isinstance(v, int | float) else str(v)] for k, v in dict(alert.values).items()]
    basis = views.table(values, ["What fired it", "Value"]) if values else ""
    hashes = ", ".join(f"<code>{escape(c[:16])}</code>" for c in alert.content)
    seen = f"<p class=quiet>Acknowledge with <code>mltrainer alerts ack {escape(alert.id)}</code>.</p>"
    pill = f'<span class="pill {PILLS.get(alert.severity, "none")}">{escape(alert.severity)}</span>'
    kind = f"{alert.kind.replace('_', ' ')}, {alert.condition}"
    what = f"{kind}; {alert.subject}, session of {alert.session}; {alert.state}"
    rest = fold("What it rests on", f"{basis}<p>Sealed data {hashes}</p>{seen if alert.state == 'new' else ''}")
    head = f'<p>{pill} <b>{escape(alert.message)}</b></p><p class="quiet">{escape(what)}</p>'
    # The browser puts a button in here for whoever may, and says that it acknowledged by the visitor's own session.
    button = f'<p class="acknowledge" data-alert="{escape(alert.id)}"></p>' if alert.state == "new" else ""
    return f'<article class="card">{head}{button}{rest}</article>'


def _history(found: Sequence[alerts.Alert]) -> str:
    rows = [[a.session, a.severity, a.kind.replace("_", " "), a.subject, a.state, a.message] for a in found[::-1]]
    heads = ["Session", "Severity", "Kind", "Subject", "State", "What"]
    return fold(f"All {len(rows)} alerts", views.table(rows, heads)) if rows else ""


def _replay(ticker: str) -> str:
    """How often each condition was wrong in the history of a ticker."""
    replay = alerts.replay(ticker)
    rates = replay.rates[replay.rates["judged"] > 0].to_dict("records")
    shares = ("false_alarms", "low", "high", "base")
    rows = [
        [f"{r['kind']} {r['condition']}".replace("_", " "), r["alerts"], *(100 * r[s] for s in shares), r["p"]]
        for r in rates
    ]
    heads = ["Condition", "Alerts", "False alarms, %", "from", "to", "Any day, %", "p"]
    write = [views.number, views.fixed(0), *[views.fixed(0)] * 4, views.fixed(2)]
    table = views.table(rows, heads, write=write) + views.glossary(heads)
    return f"<h2>Was it right before?</h2><p>{escape(replay.sentence())}.</p>{table}"


def _rules() -> str:
    """Every condition, its severity and what fires it, as the code says it."""
    rows = [
        [k.kind.replace("_", " "), k.condition, k.severity, k.watches, _doc(k.fire), f"{k.cool_down} sessions"]
        for k in KINDS
    ]
    heads = ["Kind", "Condition", "Severity", "Watches", "Fires when", "Then silent for"]
    return fold("What raises an alert", views.table(rows, heads))


def _doc(fire: Any) -> str:
    words = (getattr(fire, "func", fire).__doc__ or "").strip().splitlines()
    extra = ", ".join(f"{k} {v}" for k, v in getattr(fire, "keywords", {}).items())
    return f"{words[0] if words else ''}{f' ({extra})' if extra else ''}"
