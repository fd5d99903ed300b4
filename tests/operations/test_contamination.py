"""Data that turned out to be wrong: what came of it is found, refused from then on, and can be let in again."""

import json
from pathlib import Path

import pytest

import mltrainer as mt
from mltrainer import cli
from mltrainer.errors import BadInput, Refused, Unavailable
from mltrainer.evaluation import governance, trials
from mltrainer.features.matrix import Matrix
from mltrainer.operations import contamination
from mltrainer.reports.verify import proven, verify
from mltrainer.trust import audit, gate

MODEL = "KNeighborsRegressor_5"


@pytest.fixture
def msft(home: Path) -> Matrix:
    return mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")


def bars_of(matrix: Matrix) -> str:
    return next(origin.content_sha256 for origin in gate.roots(matrix) if origin.name == matrix.name)


def kinds(found: list[contamination.Made]) -> set[str]:
    return {made.kind for made in found}


def test_all_that_came_of_the_data_is_found_and_nothing_else(msft: Matrix):
    trial = mt.evaluate(MODEL, msft)
    other = mt.matrix("IBM", start="2004-01-02", end="2006-12-29")
    clean = mt.evaluate(MODEL, other)
    artifact = mt.model(MODEL).train(msft).save()
    said = mt.forecast("MSFT", as_of="2006-12-29")
    found = contamination.trace(bars_of(msft)[:12])
    assert found[0].id == bars_of(msft)
    assert kinds(found) == {"data", "derived data", "trial", "kept model", "forecast"}
    assert {trial.key, artifact, said.address, msft.fingerprint()} <= {made.id for made in found}
    assert not {clean.key, other.fingerprint(), bars_of(other)} & {made.id for made in found}


def test_a_packaged_body_is_traced_by_its_own_hash_to_every_ticker_that_came_in_it(msft: Matrix):
    other = mt.matrix("IBM", start="2004-01-02", end="2006-12-29")
    body = next(origin.body_sha256 for origin in gate.roots(msft) if origin.name == "MSFT")
    found = {made.id for made in contamination.trace(str(body))}
    assert found >= {bars_of(msft), msft.fingerprint(), bars_of(other), other.fingerprint()}


def test_what_was_revoked_is_refused_for_every_purpose_until_it_is_let_in_again(msft: Matrix):
    trial = mt.evaluate(MODEL, msft)
    model = mt.model(MODEL).train(msft)
    artifact = model.save()
    contamination.revoke(bars_of(msft), "a bad tick on 2005-03-01")
    uses = (
        lambda: mt.bars("MSFT"), lambda: mt.matrix("MSFT", start="2005-01-03"), lambda: mt.model(MODEL).train(msft),
        lambda: mt.evaluate(MODEL, msft), lambda: trials.opened(trial.key),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(Refused, match="a bad tick on 2005-03-01"):
            use()
    assert trials.load(trial.key) is None
    assert len(trials.ledger()) == 1  # it was tried all the same
    assert governance.standing(artifact).state == "retired"
    assert audit.verify() == []
    contamination.lift(bars_of(msft), "the exchange confirmed it")
    assert mt.evaluate(MODEL, msft).key == trial.key
    assert governance.standing(artifact).state == "retired"


@pytest.mark.slow
def test_a_report_of_revoked_data_no_longer_verifies_and_is_not_shown(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLTRAINER_WORLDS", "0")
    same = {"start": "2009-01-02", "end": "2012-12-31", "validate": False}
    run = mt.report(["neighbors"], ["IBM"], out=tmp_path, progress=False, **same)
    assert verify(run) == []
    (data,) = [s["content_sha256"] for s in run.manifest["sources"] if s["name"] == "IBM"]
    assert contamination.revoke(data, "wrong split", tmp_path)[-1].id == run.id
    assert "source IBM was revoked: wrong split" in verify(run)
    assert proven(tmp_path)[1] == {run.id: "source IBM was revoked: wrong split"}


def test_what_was_made_of_two_that_were_taken_back_is_let_in_when_both_are(msft: Matrix):
    index = next(origin.content_sha256 for origin in gate.roots(msft) if origin.name == "SPX")
    contamination.revoke(bars_of(msft), "a bad tick")
    contamination.revoke(index, "a wrong close")
    contamination.lift(bars_of(msft), "it was right")
    assert mt.bars("MSFT").name == "MSFT"
    with pytest.raises(Refused, match="a wrong close"):
        mt.evaluate(MODEL, msft)
    contamination.lift(index, "and so was this")
    assert mt.evaluate(MODEL, msft).ok


def test_of_a_body_that_was_taken_back_no_other_ticker_comes_in(msft: Matrix):
    body = str(next(origin.body_sha256 for origin in gate.roots(msft) if origin.name == "MSFT"))
    contamination.revoke(body, "the file is wrong")
    with pytest.raises(Refused, match="came in a body that was revoked: the file is wrong"):
        mt.bars("IBM")
    contamination.lift(body, "it was another file")
    assert mt.bars("IBM").name == "IBM"


def test_what_was_revoked_as_a_body_is_lifted_as_that_body_and_the_refusal_says_so(msft: Matrix):
    body = str(next(origin.body_sha256 for origin in gate.roots(msft) if origin.name == "MSFT"))
    contamination.revoke(body, "the file is wrong")
    with pytest.raises(BadInput, match=f"is not revoked; what is of it was revoked as {body[:12]}"):
        contamination.lift(bars_of(msft), "it was right")
    with pytest.raises(Refused):
        mt.bars("MSFT")


@pytest.mark.parametrize("what", ["", "abc", "zz" * 32, "../../etc", "0" * 65, "\x1b[31m" * 6])
def test_what_is_no_hash_is_said_to_be_none(home: Path, what: str):
    with pytest.raises(BadInput, match="is no hash"):
        contamination.trace(what)


def test_what_two_things_begin_with_means_neither(home: Path):
    """Two whose first six digits are the same: nothing is guessed, and one digit more says which."""
    one, other, body = "abcdef1" + "0" * 57, "abcdef2" + "0" * 57, "fedcba" + "0" * 58
    for content in (one, other):
        origin = {"source": "sample", "name": content[:7], "body_sha256": body}
        audit.append("admit", content=content, provenance=origin)
    for ask in (contamination.trace, lambda what: contamination.revoke(what, "a bad tick")):
        with pytest.raises(BadInput, match=f"2 bodies or contents begin with abcdef: {one[:12]}, {other[:12]}; give"):
            ask("abcdef")
    assert audit.entries(kind=gate.REVOCATION) == []
    assert [made.id for made in contamination.trace("abcdef2")] == [other]
    assert {made.id for made in contamination.trace(body[:6])} == {one, other}  # one body that both came in


def test_nothing_is_let_in_again_without_a_reason(msft: Matrix):
    contamination.revoke(bars_of(msft), "a bad tick")
    for reason in ("", " \t"):
        with pytest.raises(BadInput, match="data is not let in again without a reason; give it in --reason"):
            contamination.lift(bars_of(msft), reason)
    assert gate.revoked(bars_of(msft)) == "a bad tick"
    assert [entry.payload["lifted"] for entry in audit.entries(kind=gate.REVOCATION) if entry.payload["lifted"]] == []


def test_nothing_is_done_without_a_reason_or_a_thing(msft: Matrix):
    with pytest.raises(Unavailable, match="nothing that was let in begins with 000000"):
        contamination.trace("000000")
    with pytest.raises(BadInput, match="without a reason"):
        contamination.revoke(bars_of(msft), " ")
    with pytest.raises(BadInput, match=r"is not revoked$"):
        contamination.lift(bars_of(msft), "an error")
    assert audit.entries(kind=gate.REVOCATION) == []


def test_the_commands_trace_revoke_and_lift(
    msft: Matrix, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def call(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["mltrainer", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    data = bars_of(msft)
    assert json.loads(call("trace", data, "--json")[1])[0] == {"kind": "data", "id": data, "name": "sample MSFT"}
    assert call("revoke", data[:12])[::2] == (
        2,
        "mltrainer: data is not taken back without a reason; give it in --reason\n",
    )
    assert "derived data" in call("revoke", data[:12], "--reason", "a bad tick")[1]
    refused = call("fetch", "bars", "MSFT")
    assert refused[0] == 2
    assert "was revoked: a bad tick" in refused[2]
    assert call("revoke", data[:12], "--lift", "--reason", "it was right")[0] == 0
    assert call("fetch", "bars", "MSFT")[0] == 0
