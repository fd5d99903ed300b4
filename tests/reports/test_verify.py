"""`verify` names what was changed in a run, whatever it was."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from making import SPAN

from mltrainer import reports, store
from mltrainer.evaluation import study
from mltrainer.operations.explain import explain
from mltrainer.reports.folder import read
from mltrainer.trust import audit


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def rewrite(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = manifest_of(folder)
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def database(home: Path, *statements: str) -> None:
    """Change rows as somebody with the folder in hand could: without the triggers, and what it remembers removed."""
    (home / "mltrainer.head").unlink()
    connection = sqlite3.connect(home / "mltrainer.sqlite")
    for table in ("audit", "trials"):
        for verb in ("UPDATE", "DELETE"):
            connection.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
    for statement in statements:
        assert connection.execute(statement).rowcount > 0
    connection.commit()
    connection.close()


def test_an_untouched_run_holds_by_folder_by_id_and_as_a_run(copy: Path):
    assert reports.verify(copy) == []
    assert reports.verify(copy.name, copy.parent) == []
    assert reports.verify(copy.name[-8:], copy.parent) == []  # as `runs` shows it
    assert reports.verify(read(copy)) == []


@pytest.mark.parametrize("end", [None, -8])
def test_a_run_says_its_data_settings_and_luck_by_its_id_or_the_end_of_it(copy: Path, end: int | None):
    manifest, name = manifest_of(copy), copy.name if end is None else copy.name[end:]
    found = explain(name, copy.parent)
    assert (found.kind, found.id) == ("run", copy.name)
    assert found.data["MSFT"].endswith(manifest["sources"][0]["body_sha256"][:12])
    assert (found.settings, found.figures) == (manifest["parameters"], manifest["luck"])
    assert [(a["state"], a["by"]) for a in found.approved] == [("made", audit.actor())]


def edit(name: str, what: bytes = b"MSFT") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        body = (folder / name).read_bytes()
        assert what in body
        (folder / name).write_bytes(body.replace(what, what[::-1], 1))

    return change


def traversal(name: str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, lambda m: m["outputs"].update({name: "0" * 64}))


SPOILED = {
    "a number of the leaderboard": (edit("leaderboard.csv", b"0.1"), "leaderboard.csv does not follow from"),
    "a word of the leaderboard": (edit("leaderboard.csv"), "file leaderboard.csv was changed"),
    "the index": (edit("index.html"), "file index.html was changed"),
    "a page": (edit("neighbors.html"), "file neighbors.html was changed"),
    "a notebook": (edit("neighbors.ipynb"), "file neighbors.ipynb was changed"),
    "a page removed": (lambda f: (f / "neighbors.html").unlink(), "file neighbors.html is missing"),
    "a file added": (lambda f: (f / "evil.html").write_text("x"), "file evil.html was added"),
    "a hidden file added": (lambda f: (f / ".evil").write_text("x"), "file .evil was added"),
    "a file in a folder added": (
        lambda f: ((f / "failed").mkdir(), (f / "failed" / "evil.html").write_text("x")),
        "file failed/evil.html was added",
    ),
    "the mode in the manifest": (
        lambda f: rewrite(f, lambda m: m.update(mode="live")),
        "manifest.json is not the one the audit trail tells of",
    ),
    "the head in the manifest": (
        lambda f: rewrite(f, lambda m: m.update(audit_head="3:" + "0" * 64)),
        "entry 3 is not the one the saved head names",
    ),
    "a head that is none": (lambda f: rewrite(f, lambda m: m.update(audit_head="x")), "'x' is no audit head"),
    "the hash of a source": (
        lambda f: rewrite(f, lambda m: m["sources"][0].update(body_sha256="0" * 64)),
        "source MSFT: the bytes of package:bokeh_sampledata/_data/stocks.csv.gz are not the recorded ones",
    ),
    "the file of a source": (
        lambda f: rewrite(f, lambda m: m["sources"][0].update(endpoint="package:os/../../../etc/passwd")),
        "source MSFT: 'package:os/../../../etc/passwd' is not packaged history",
    ),
    "luck": (
        lambda f: rewrite(f, lambda m: m["luck"].update(threshold=0.0)),
        "luck (threshold) does not follow from the first 5 rows of the trial ledger",
    ),
    "a result": (
        lambda f: rewrite(f, lambda m: m["results"][0].update(key="0" * 64)),
        "result KNeighborsRegressor_3 on MSFT: the trial ledger of this installation does not hold it",
    ),
    "a file outside": (traversal("../../../etc/passwd"), "file '../../../etc/passwd' lies outside the run folder"),
    "an absolute file": (traversal("/etc/passwd"), "file '/etc/passwd' lies outside the run folder"),
    "the parent": (traversal(".."), "file .. is missing"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_was_changed_is_named(copy: Path, command, what: str):
    change, finding = SPOILED[what]
    change(copy)
    said = command("verify", copy)
    assert said.code == 1
    assert any(finding in line for line in said.out.splitlines()), said.out
    assert said.err == ""


def test_every_change_of_the_manifest_shows_in_the_trail(copy: Path):
    (copy / "manifest.json").write_text((copy / "manifest.json").read_text() + " ")
    assert reports.verify(copy) == ["manifest.json is not the one the audit trail tells of"]


def test_stored_forecasts_changed_on_the_disk_are_named(copy: Path, command):
    blob = next(r["blob"] for r in manifest_of(copy)["results"] if r["model"] == "KNeighborsRegressor_7")
    path = next(store.settings().home.glob(f"blobs/*/{blob}"))
    body = path.read_bytes()
    path.write_bytes(body[:100] + bytes([body[100] ^ 1]) + body[101:])
    said = command("verify", copy)
    assert said.code == 1
    assert "result KNeighborsRegressor_7 on MSFT" in said.out
    assert "no longer matches its hash" in said.out


EDIT = "UPDATE audit SET payload = replace(payload, 'KNeighbors', 'LNeighbors') WHERE kind = 'trial'"
SHARPE = "UPDATE trials SET sharpe = 4.2 WHERE model = 'KNeighborsRegressor_3'"
TRAIL = {
    "a trial edited": ([SHARPE], "was edited: sharpe is '4.2', its entry says"),
    "a trial invented": (
        [
            "INSERT INTO trials (key, at, model, family, ticker, horizon, status, sharpe, n, payload) "
            "SELECT 'invented', at, model, family, ticker, horizon, status, 4.2, n, payload FROM trials LIMIT 1"
        ],
        "trial invented has no entry in the trail",
    ),
    "edited": ([EDIT], "was edited: its contents do not match its hash"),
    "unreadable": (["UPDATE audit SET payload = '{' WHERE kind = 'report'"], "cannot be read"),
    "deleted": (["DELETE FROM audit WHERE seq = 5"], "entry 5 is missing"),
    "cut short": (["DELETE FROM audit WHERE seq > 5"], "the trail ends at entry 5, the saved head names entry"),
    "emptied": (["DELETE FROM audit"], "the trail is empty"),
    "without the report": (["DELETE FROM audit WHERE kind = 'report'"], "no entry tells of run MSFT-5d-"),
    "ledger emptied": (["DELETE FROM trials"], "the trial ledger of this installation does not hold it"),
}


@pytest.mark.parametrize("what", TRAIL)
def test_a_changed_trail_is_named(copy: Path, home: Path, command, what: str):
    statements, finding = TRAIL[what]
    database(home, *statements)
    said = command("verify", copy)
    assert said.code == 1
    assert any(finding in line for line in said.out.splitlines()), said.out


def test_a_trail_that_lost_its_end_is_named_by_what_the_home_remembers(copy: Path, home: Path):
    connection = sqlite3.connect(home / "mltrainer.sqlite")
    connection.execute("DROP TRIGGER audit_no_DELETE")
    connection.execute("DELETE FROM audit WHERE kind = 'report'")
    connection.commit()
    connection.close()
    said = " ".join(reports.verify(copy))
    assert "mltrainer.head remembers" in said
    assert "audit trail: the trail ends at entry" in said


def test_luck_is_judged_where_the_run_was(copy: Path):
    """Other trials, made later in the same home, are no fault of the run."""
    study.evaluate(["RidgeRegression", "LassoRegression"], "MSFT", start=SPAN[1], end=SPAN[3])
    assert reports.verify(copy) == []
    before = manifest_of(copy)
    assert before["ledger"] == before["luck"]["trials"] == 5
    rewrite(copy, lambda m: m.update(ledger=before["ledger"] - 1))
    assert "luck (trials" in " ".join(reports.verify(copy))


def test_a_run_that_does_not_say_where_it_was_judged_is_still_read(copy: Path):
    rewrite(copy, lambda m: m.pop("ledger"))
    assert reports.verify(copy) == ["manifest.json is not the one the audit trail tells of"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', "{}", "\xff", "[" * 100_000, '{"run": 1}', json.dumps({"outputs": {}})],
    ids=range(10),
)
def test_a_manifest_that_is_none_is_one_line(copy: Path, command, text: str):
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    said = command("verify", copy)
    assert said.code == 1
    assert said.out.count("\n") == 1
    assert "manifest.json is not a manifest of a run" in said.out
    assert said.err == ""


@pytest.mark.parametrize("key", ["outputs", "sources", "results", "families", "parameters", "luck", "audit_head"])
@pytest.mark.parametrize("value", [None, "x", [1]], ids=repr)
def test_a_manifest_of_another_shape_is_a_finding_and_no_traceback(copy: Path, key: str, value: object):
    rewrite(copy, lambda m: m.update({key: value}))
    assert "manifest.json is not the one the audit trail tells of" in " ".join(reports.verify(copy))


@pytest.mark.parametrize("key", ["mode", "sources", "parameters", "library_versions", "outputs", "audit_head"])
def test_a_manifest_that_lacks_a_key_is_one_finding(copy: Path, key: str):
    rewrite(copy, lambda m: m.pop(key))
    assert reports.verify(copy) == [f"{copy / 'manifest.json'} is not a manifest of a run: keys are missing"]


@pytest.mark.parametrize("run", ["MSFT-5d-00000000", "../x", "a" * 10_000, "x\ny", "<script>", ""])
def test_an_unknown_run_is_one_line_and_exit_2(command, tmp_path: Path, run: str):
    said = command("verify", run, "--out", tmp_path)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert len(said.err) < 600
    assert said.out == ""


def test_another_installation_cannot_vouch_for_a_run(copy: Path, home: Path):
    shutil.rmtree(home)
    found = reports.verify(copy)
    assert f"audit trail: no entry tells of run {copy.name}" in found
    assert any("the trail is empty" in line for line in found)


def test_findings_are_one_json_document(copy: Path, command):
    (copy / "evil.html").write_text("x")
    said = command("verify", copy, "--json")
    assert said.code == 1
    assert json.loads(said.out) == {"holds": False, "findings": ["file evil.html was added"]}


def test_the_report_entry_is_the_last_of_the_trail_and_names_the_manifest(copy: Path):
    last = audit.entries(limit=1)[0]
    assert (last.kind, last.payload["run"], last.payload["status"]) == ("report", copy.name, "complete")
