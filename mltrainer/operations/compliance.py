"""A validation pack: what a model risk reviewer asks for, read off the ledger and the trail, with nothing typed in.

It follows the questions of supervisory guidance on model risk (inventory, validation, challengers, limits, sign-offs,
outcomes). It is evidence for somebody who judges, and claims compliance with nothing.
"""

from html import escape

import pandas as pd

from mltrainer import views
from mltrainer.evaluation import governance, trials
from mltrainer.models import catalog
from mltrainer.operations import lifecycle
from mltrainer.reports.family import Html
from mltrainer.settings import settings
from mltrainer.trust import audit

DISCLAIMER = (
    "This pack is generated from the ledger and the audit trail. It is evidence for a reviewer; it is no statement "
    "that any rule is complied with, and no substitute for an independent validation."
)
NOT_APPLICABLE = {
    "Fairness to persons": "not applicable: the models see prices and macro series, no persons. The skew that matters "
    "here is of the universe: names that survived, sectors and sizes that the packaged history happens to hold.",
    "Customer impact": "not applicable: forecasts are shown to researchers; nothing here sends an order.",
}


def table(frame: pd.DataFrame, none: str) -> Html:
    """A table as a piece of the page; `none` where it has no row. Every cell is escaped."""
    return Html(frame.to_html(index=False, border=0) if len(frame) else f"<p>{escape(none)}</p>")


def when(told: audit.Entry | governance.Standing) -> str:
    """To the minute, UTC."""
    return f"{told.at:.16}"


class CompliancePack:
    """The pack of one installation, a method a section.

    Parameters
    ----------
    ticker : only kept models of this name; default all.
    """

    def __init__(self, ticker: str = "") -> None:
        rows = lifecycle.inventory()
        self.inventory = rows[rows["ticker"] == ticker] if ticker else rows
        self.head = audit.head()
        self.findings = audit.verify()

    def opening(self) -> Html:
        """What this is, of when, and whether the trail that it is read from holds."""
        state = "holds" if not self.findings else f"does NOT hold: {escape('; '.join(self.findings[:3]))}"
        return Html(
            f"{views.banner(settings().data_mode, '')}<h1>Validation pack</h1><p>{escape(DISCLAIMER)}</p>"
            f"<p>Audit trail of {self.head.size:,} entries, head <code>{self.head}</code>; it {state}.</p>"
        )

    def models(self) -> Html:
        """Every kept model: the inventory."""
        shown = self.inventory.assign(artifact=self.inventory["artifact"].str[:12])
        return table(shown, "No model was kept yet; mltrainer train keeps one.")

    def gates(self) -> Html:
        """What each gate found at each validation, passed or not."""
        ours = set(self.inventory["artifact"])
        told = [(e, e.payload) for kind in (governance.KIND, "validation") for e in audit.entries(kind=kind)]
        rows = [
            {"artifact": p["artifact"][:12], "model": p["model"], "when": when(e), "by": e.actor, "gate": g["gate"],
             "passed": "yes" if g["passed"] else "no", "found": g["found"]}
            for e, p in told if p["artifact"] in ours for g in p.get("gates", ())
        ]  # fmt: skip
        return table(pd.DataFrame(rows), "No model was asked yet; mltrainer governance validate asks one.")

    def signed(self) -> Html:
        """Every step of every model, with who took it and why."""
        ours = set(self.inventory["artifact"])
        rows = [
            {"when": when(s), "artifact": s.artifact[:12], "model": s.model, "state": s.state, "by": s.by,
             "reason": s.reason} for s in governance.history() if s.artifact in ours
        ]  # fmt: skip
        return table(pd.DataFrame(rows), "No step was taken yet.")

    def challengers(self) -> Html:
        """How many trials stood against each kept model: everything ever tried on its ticker counts."""
        ledger = trials.ledger()
        rows = [
            {"artifact": row["artifact"][:12], "model": row["model"], "ticker": row["ticker"],
             "models tried on it": ledger.loc[ledger["ticker"] == row["ticker"], "model"].nunique(),
             "trials": int((ledger["ticker"] == row["ticker"]).sum())}
            for row in self.inventory.to_dict("records")
        ]  # fmt: skip
        return table(pd.DataFrame(rows), "No model was kept, so none has a challenger.")

    def limits(self) -> Html:
        """What each model assumes and warns of, and how it is restricted."""
        rows = []
        for row in self.inventory.to_dict("records"):
            card = catalog.spec(row["model"]).card
            said = f"restricted: {row['reason']}" if row["state"] == "restricted" else row["state"]
            rows.append({"model": row["model"], "assumes": card.method.assumes, "may warn": card.warns, "use": said})
        return table(pd.DataFrame(rows), "No model was kept.")

    def incidents(self) -> Html:
        """What was refused, quarantined, purged, lost."""
        kinds = ("violation", "quarantine", "purge", "restore")
        rows = [{"when": when(e), "kind": k, "by": e.actor, "what": str(e.payload.get("what") or e.payload.get("why")
                 or e.payload.get("reason") or "")} for k in kinds for e in audit.entries(kind=k)]  # fmt: skip
        lost = trials.lost()
        rows += [{"when": "", "kind": "lost result", "by": "", "what": f"{t['model']} on {t['ticker']}: {t['why']}"}
                 for t in lost.to_dict("records")]  # fmt: skip
        return table(pd.DataFrame(rows), "None is told of.")

    def elsewhere(self) -> Html:
        """What does not apply and why, and how to check all of this without this installation."""
        said = "".join(f"<p><b>{escape(k)}</b>: {escape(v)}</p>" for k, v in NOT_APPLICABLE.items())
        how = "mltrainer audit export trail.jsonl, then: python check_trail.py trail.jsonl RUN_FOLDER --head "
        return Html(f"{said}<p>To check with Python alone: <code>{escape(how)}{self.head}</code></p>")
