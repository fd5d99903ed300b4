"""An answer is shown while what it rests on is there, as it was signed, and never else."""

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from mltrainer.dashboards import answers
from mltrainer.dashboards.answers import Answer
from mltrainer.operations.retention import purge
from mltrainer.server import answers as served
from mltrainer.trust import audit

HOSTILE = '"><script>alert(1)</script>'


def answer(**changes: object) -> Answer:
    made = "2026-11-29T06:40:00+00:00"
    known = Answer("models", "", answers.basis("models"), made, "<b>SAMPLE</b>", [], ["<p class=lede>so</p>"], "")
    return replace(known, **changes)


def kept() -> Path:
    answers.keep(answer())
    (file,) = (answers.settings().home / "answers").glob("*.json")
    return file


def test_what_was_kept_is_shown_as_it_was(home: Path):
    kept()
    found = served.current("models", {})
    assert found == answer()
    assert "Computed 2026-11-29 06:40 UTC" in found.html()


def test_whoever_asks_for_a_kernel_gets_one(home: Path):
    kept()
    assert served.current("models", {"live": "1"}) is None
    assert served.current("models", {"theme": "dark"}) is not None  # the reader's, not the view's
    assert served.current("models", {"model": "Ridge"}) is None


@pytest.mark.parametrize("field", ["page", "state", "basis", "made", "banner", "controls", "parts", "foot"])
def test_an_edited_answer_is_none(home: Path, field: str):
    file = kept()
    signed = json.loads(file.read_text())
    signed["answer"][field] = ["1.97"] if isinstance(signed["answer"][field], list) else "1.97"
    file.write_text(json.dumps(signed))
    assert served.current("models", {}) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"answer": 3, "mac": ""}', "[" * 100_000, "\x00"])
def test_a_file_that_is_no_answer_is_none(home: Path, text: str):
    kept().write_text(text)
    assert served.current("models", {}) is None


def test_an_answer_put_in_anothers_place_is_none(home: Path):
    file = kept()
    answers._file("alerts", "").write_bytes(file.read_bytes())
    answers._file("models", "model=Ridge").write_bytes(file.read_bytes())
    assert served.current("alerts", {}) is None
    assert served.current("models", {"model": "Ridge"}) is None


def test_another_homes_key_signs_nothing_here(home: Path):
    kept()
    (home / "answers.key").write_bytes(os.urandom(32))
    assert served.current("models", {}) is None
    (home / "answers.key").write_bytes(b"short")
    assert served.current("models", {}) is None


def test_only_the_owner_may_read_the_key(home: Path):
    kept()
    assert (home / "answers.key").stat().st_mode & 0o077 == 0


def run(out: Path, name: str = "run") -> Path:
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "leaderboard.csv").write_text("name\nRidge\n")
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.mark.parametrize("file", ["manifest.json", "leaderboard.csv"])
def test_a_changed_run_makes_every_answer_of_it_stale(home: Path, tmp_path: Path, file: str):
    folder = run(tmp_path / "reports")
    before = answers.basis("models", tmp_path / "reports")
    assert answers.basis("models", tmp_path / "reports") == before
    stamp = (folder / file).stat()
    text = (folder / file).read_text()
    (folder / file).write_text(text.swapcase() if text.swapcase() != text else text[::-1])
    os.utime(folder / file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as somebody would who hides it
    assert answers.basis("models", tmp_path / "reports") != before


@pytest.mark.parametrize("page", ["alerts", "analytics", "recommendations"])
def test_new_data_makes_the_answers_of_pages_that_show_it_stale(home: Path, page: str):
    before = answers.basis(page)
    audit.append("answer", key="a")
    assert answers.basis(page) != before


@pytest.mark.parametrize("file", ["dashboards/page.py", "trading/portfolio/optimize.py", "metrics/returns.py"])
def test_other_code_makes_every_answer_stale(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str):
    """Figures are made far from their pages."""
    copy = tmp_path / "mltrainer" / file
    copy.parent.mkdir(parents=True)
    copy.write_text("A = 1")
    monkeypatch.setattr(answers, "PACKAGE", tmp_path / "mltrainer")
    before = answers._code.__wrapped__()
    copy.write_text("A = 2")
    assert answers._code.__wrapped__() != before


def test_a_purge_takes_the_pages_that_were_shown_with_it(home: Path):
    file = kept()
    purge("polygon", "the agreement ended")
    assert not file.exists()


def test_a_new_run_makes_answers_stale_and_an_alert_those_of_its_page(home: Path, tmp_path: Path):
    out = tmp_path / "reports"
    before = {page: answers.basis(page, out) for page in answers.DEPENDS}
    audit.append("alert", key="a")
    changed = {page for page, basis in before.items() if answers.basis(page, out) != basis}
    assert changed == {"alerts", "recommendations"}
    run(out)
    assert answers.basis("models", out) != before["models"]


def test_outside_of_a_sample_an_answer_does_not_outlive_its_day(home: Path, monkeypatch: pytest.MonkeyPatch):
    sample = answers.basis("models")
    monkeypatch.setenv("MLTRAINER_MODE", "replay")

    class Tomorrow(answers.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Tomorrow":
            return cls(2101, 1, 1)

    today = answers.basis("models")
    monkeypatch.setattr(answers, "datetime", Tomorrow)
    assert len({sample, today, answers.basis("models")}) == 3


def test_what_controls_offer_is_escaped(home: Path):
    shown = answer(controls=[[HOSTILE, [[HOSTILE, HOSTILE]], HOSTILE]]).html()
    assert "<script" not in shown
    assert "selected" in shown


def test_there_are_never_more_answers_than_are_meant(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "MOST", 3)
    for i in range(5):
        answers.keep(answer(state=f"model={i}"))
    assert len(list((home / "answers").glob("*.json"))) == 3
    assert served.current("models", {"model": "4"}) is not None


def test_an_entry_that_was_edited_is_not_intact(home: Path):
    audit.append("report", run="r", manifest=sha256(b"x").hexdigest())
    (entry,) = audit.entries(kind="report")
    assert audit.intact(entry)
    assert not audit.intact(replace(entry, payload=entry.payload | {"manifest": "other"}))
    assert audit.latest("report") == 1
    assert audit.latest("alert", "nothing") == 0
