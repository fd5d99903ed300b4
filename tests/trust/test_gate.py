"""Real data is let in and keeps its lineage; whatever cannot show its origin is refused, with one violation row."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from databases import BOTH, Tamper
from sqlalchemy import select, text

from mltrainer import store
from mltrainer.data import sample
from mltrainer.errors import BadInput, NotEnoughHistory, Refused, StorageError, UnknownName
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset, Provenance, cut

pytestmark = BOTH
STOCKS = files("bokeh_sampledata").joinpath("_data/stocks.csv.gz").read_bytes()
SMALL = b"Date,close\n2020-01-02,10.0\n2020-01-03,11.0\n2020-01-06,12.5\n"
close = partial(sample.parse_close, column="close")


def packaged(ticker: str = "MSFT", **changes: Any) -> Dataset:
    asked: dict[str, Any] = {"name": ticker, "kind": "bars", "endpoint": "package:stocks", "parameters": {}}
    asked |= {"body": STOCKS, "parse": partial(sample.parse_wiki, ticker=ticker), "note": "public domain"}
    return gate.admit("sample", **{**asked, **changes})


def live(monkeypatch: pytest.MonkeyPatch, source: str = "polygon", **changes: Any) -> Dataset:
    monkeypatch.setenv("MLTRAINER_MODE", "live")
    asked: dict[str, Any] = {"name": "AAPL", "kind": "bars", "endpoint": "https://api.massive.com/v2/aggs"}
    asked |= {"parameters": {"apiKey": "canary"}, "body": SMALL, "parse": close, "http_status": 200}
    return gate.admit(source, **{**asked, **changes})


def violations(kind: str = "violation") -> list[dict[str, Any]]:
    return [entry.payload for entry in audit.entries(kind=kind)]


def refused(act: Callable[[], object], saying: str, kind: str = "violation") -> None:
    """One clear line, and exactly one entry of the kind that says the same, and none of the other."""
    before, others = len(violations(kind)), len(audit.entries())
    with pytest.raises(Refused) as error:
        act()
    said = str(error.value)
    assert saying in said
    assert "\n" not in said
    assert len(violations(kind)) == before + 1
    assert {entry.kind for entry in audit.entries()[others:]} <= {kind, "admit", "derive"}
    row = violations(kind)[-1]
    assert said == f"{row['what']} {row['why']}; {row['remedy']}"
    assert audit.verify() == []


# --- what is let in -------------------------------------------------------------------------------------------


def test_a_pinned_packaged_body_is_admitted_with_its_whole_origin() -> None:
    data = packaged()
    origin = data.provenance
    assert origin is not None
    assert (origin.source, origin.mode, origin.name, origin.kind) == ("sample", "sample", "MSFT", "bars")
    assert origin.body_sha256 == sha256(STOCKS).hexdigest()
    assert origin.content_sha256 == data.fingerprint()
    assert (origin.note, origin.parents) == ("public domain", ())
    assert origin.transform == "mltrainer.data.sample.parse_wiki(ticker='MSFT')"
    assert "never for live recommendations" in origin.terms
    assert gate.verify(data, "train") == origin
    assert repr(data) == "<Dataset MSFT bars, 3,270 x 5, 2000-03-01..2013-03-01, sample, sample>"


def test_every_pin_is_a_file_of_the_installed_packages() -> None:
    found = {
        sha256(files(p.split("/")[0]).joinpath(p.split("/", 1)[1]).read_bytes()).hexdigest(): p
        for p in gate.PINS.values()
    }
    assert found == gate.PINS


def test_one_content_has_one_registry_row_and_one_admit_entry() -> None:
    first, again = packaged(), packaged(note="another note")
    assert again.provenance == first.provenance
    (entry,) = audit.entries(kind="admit")
    assert first.provenance is not None
    assert entry.payload["content"] == first.provenance.content_sha256
    assert Provenance(**{**entry.payload["provenance"], "parents": ()}) == first.provenance


def test_live_content_is_admitted_in_mode_live_and_its_key_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = live(monkeypatch, retrieved_at="2026-11-22T00:00:00+00:00")
    assert data.provenance is not None
    assert (data.provenance.source, data.provenance.mode) == ("polygon", "live")
    assert data.provenance.parameters == {"apiKey": "***"}
    with store.reading() as connection:
        assert "canary" not in str([connection.execute(select(table)).all() for table in store.SCHEMA.sorted_tables])


def test_verify_of_thirteen_years_of_bars_takes_less_than_ten_milliseconds() -> None:
    data = packaged()
    frame = data.frame.assign(sixth=data.frame["close"])
    assert frame.shape == (3270, 6)
    times = []
    for _ in range(9):
        start = time.process_time()  # other work on the machine is no fault of ours
        Dataset(frame, "X", "bars").fingerprint()
        gate.verify(data, "train")
        times.append(time.process_time() - start)
    assert min(times) < 0.010


def test_the_gate_is_light_to_import() -> None:
    heavy = "{'sklearn', 'scipy', 'plotly', 'matplotlib', 'statsmodels', 'arch', 'skfolio', 'bokeh', 'jupyter_server'}"
    code = f"import sys, mltrainer.trust.gate; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what is not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "saying"),
    [
        (pd.DataFrame(np.ones((3270, 5))), "a DataFrame (3,270 x 5) carries no provenance"),
        (pd.Series(np.ones(7)), "a Series (7) carries no provenance"),
        (np.random.default_rng(0).normal(size=(100, 3)), "an ndarray (100 x 3) carries no provenance"),
        ([1.0, 2.0], "a list (2 items) carries no provenance"),
        ("prices.csv", "the str 'prices.csv' carries no provenance"),
        ("two\nlines", r"the str 'two\nlines' carries no provenance"),
        (None, "a NoneType carries no provenance"),
        (Dataset(pd.DataFrame({"close": [1.0]}), "AAPL", "bars"), "the Dataset 'AAPL' carries no provenance"),
    ],
    ids=["frame", "series", "noise", "list", "path", "two lines", "nothing", "unsealed"],
)
def test_what_carries_no_provenance_is_refused(item: object, saying: str) -> None:
    refused(lambda: gate.verify(item, "train"), f"{saying}, so its origin cannot be shown; fetch it with mt.bars(...)")
    assert violations()[-1]["purpose"] == "train"


def test_an_attribute_that_claims_an_origin_does_not_help() -> None:
    frame = packaged().frame.copy()
    frame.attrs = {"source": "polygon", "provenance": packaged().provenance}
    refused(lambda: gate.verify(frame, "train"), "carries no provenance")


def test_a_frame_edited_in_place_is_refused() -> None:
    data = packaged()
    data.frame.loc[data.frame.index[100], "close"] = 1.01
    refused(lambda: gate.verify(data, "train"), "the Dataset 'MSFT' is not what its provenance was given to")
    refused(lambda: data.window("2005-01-01"), "is not what its provenance was given to")


def test_provenance_of_another_dataset_is_refused() -> None:
    msft, aapl = packaged("MSFT"), packaged("AAPL")
    swapped = Dataset(msft.frame, "MSFT", "bars", aapl.provenance)
    refused(lambda: gate.verify(swapped, "train"), "is not what its provenance was given to")


def test_a_replaced_copy_with_another_frame_or_name_is_refused() -> None:
    data = packaged()
    for altered in (replace(data, frame=data.frame * 2), replace(data, name="AAPL"), replace(data, kind="macro")):
        refused(partial(gate.verify, altered, "train"), "is not what its provenance was given to")


def test_a_forged_provenance_that_was_never_registered_is_refused() -> None:
    data = packaged()
    assert data.provenance is not None
    noise = Dataset(data.frame * 2, "MSFT", "bars")
    forged = replace(noise, provenance=replace(data.provenance, content_sha256=noise.fingerprint()))
    refused(lambda: gate.verify(forged, "train"), "was never let in")


def test_a_provenance_reworded_after_admission_is_refused() -> None:
    data = packaged()
    assert data.provenance is not None
    grander = replace(data, provenance=replace(data.provenance, source="polygon", mode="live"))
    refused(lambda: gate.verify(grander, "recommend"), "carries another provenance than the registry holds")
    data.provenance.parameters["series"] = "other"  # type: ignore[index]
    refused(lambda: gate.verify(data, "train"), "carries another provenance than the registry holds")


def test_a_class_that_hashes_itself_is_refused() -> None:
    data = packaged()

    class Liar(Dataset):
        def fingerprint(self) -> str:
            assert self.provenance is not None
            return self.provenance.content_sha256

    refused(
        lambda: gate.verify(Liar(data.frame * 2, "MSFT", "bars", data.provenance), "train"), "hashes itself by code"
    )


def imposter(body: bytes) -> pd.DataFrame:
    return pd.read_csv(BytesIO(body))


imposter.__module__ = "mltrainer.data.sample"


@pytest.mark.parametrize(
    "parse",
    [
        imposter,
        lambda body: pd.DataFrame({"close": np.random.default_rng(0).normal(size=9)}),
        partial(pd.read_csv, compression="gzip"),
        partial(partial(pd.read_csv), sep=";"),
        partial(sample.parse_close, column=str.upper),  # type: ignore[arg-type]
        pd.DataFrame,
        "sample.parse_close",
    ],
    ids=["imposter", "lambda", "pandas", "nested partial", "callable argument", "class", "text"],
)
def test_a_parser_that_is_not_of_this_package_is_refused(parse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: packaged(parse=parse), "which is not of this package")
    assert audit.entries(kind="admit") == []


def test_a_body_that_is_not_pinned_is_no_sample() -> None:
    refused(lambda: packaged(body=SMALL, parse=close), "is not a pinned packaged file")
    refused(lambda: packaged(body=STOCKS + b"\0"), "is not a pinned packaged file")


def test_a_body_in_pieces_is_a_providers_and_read_by_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = gate.Pieces(sample.parse_close)
    pinned.read = lambda piece: piece
    pinned.add(STOCKS)
    pinned.parts = [SMALL]  # what was hashed is not what would be admitted
    refused(lambda: packaged(body=pinned), "is not a pinned packaged file")
    sent = gate.Pieces(lambda piece: piece)
    sent.add(SMALL[:20])
    sent.add(SMALL[20:], mark=b"\x1e")
    assert sent.sha256 == sha256(SMALL[:20] + b"\x1e" + SMALL[20:]).hexdigest()
    refused(lambda: live(monkeypatch, body=sent), "would be parsed by test_gate")


@pytest.mark.parametrize(
    ("mode", "source"),
    [("sample", "polygon"), ("sample", "replay"), ("live", "sample"), ("live", "replay"), ("replay", "fred")],
)
def test_a_source_speaks_only_in_its_own_mode(mode: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_MODE", mode)
    refused(
        lambda: gate.admit(source, name="A", kind="bars", endpoint="", parameters={}, body=STOCKS, parse=close),
        f"is no data of mode {mode}",
        kind="mistake",
    )


def test_an_unknown_source_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="close: polygon"):
        gate.admit("polygone", name="A", kind="bars", endpoint="", parameters={}, body=SMALL, parse=close)


def test_the_same_content_from_a_test_is_not_let_in_again_as_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    gate.admit("replay", name="AAPL", kind="bars", endpoint="", parameters={}, body=SMALL, parse=close)
    refused(lambda: live(monkeypatch), "is held as replay content 'AAPL' of mode replay")


def test_nothing_is_let_in_when_the_trail_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.delenv("MLTRAINER_DATABASE_URL", raising=False)
    with pytest.raises(StorageError):
        packaged()
    with pytest.raises(StorageError):
        gate.verify([1.0], "train")


def test_a_frame_with_a_foreign_object_in_it_is_refused() -> None:
    data = packaged()
    data.frame["close"] = pd.Series([object()] * len(data.frame), index=data.frame.index)
    refused(lambda: gate.verify(data, "train"), "holds what no source sends: values of type object")


# --- what is derived ------------------------------------------------------------------------------------------


def test_a_window_keeps_its_lineage() -> None:
    whole = packaged()
    part = whole.window("2005-01-01", "2005-12-31")
    assert whole.provenance is not None
    assert part.provenance is not None
    assert len(part.frame) == 252  # the New York sessions of 2005
    assert part.provenance.parents == (whole.provenance.content_sha256,)
    assert part.provenance.transform == "mltrainer.trust.provenance.cut"
    assert part.provenance.parameters == {"start": "2005-01-01", "end": "2005-12-31"}
    assert (part.provenance.source, part.provenance.mode, part.provenance.endpoint) == ("sample", "sample", "derived")
    assert (part.provenance.terms, part.provenance.note) == (whole.provenance.terms, "public domain")
    assert part.window("2005-06-01").provenance.parents == (part.provenance.content_sha256,)  # type: ignore[union-attr]
    gate.verify(part, "train")
    assert [entry.kind for entry in audit.entries()] == ["admit", "derive", "derive"]
    assert audit.verify() == []


def test_a_window_of_everything_is_the_same_content_with_the_same_origin() -> None:
    whole = packaged()
    assert whole.window().provenance == whole.provenance
    assert whole.window("2005-01-01").window("2006-01-01").fingerprint() == whole.window("2006-01-01").fingerprint()


def test_the_roots_of_derived_content_are_what_the_provider_sent_each_once() -> None:
    msft, aapl = packaged("MSFT"), packaged("AAPL")
    parts = [msft.window("2005-01-01").window("2006-01-01"), aapl.window("2005-01-01"), msft.window("2007-01-01"), msft]
    assert gate.roots(*parts) == [msft.provenance, aapl.provenance]


@pytest.mark.parametrize(
    ("start", "end", "error"),
    [("2030-01-01", None, NotEnoughHistory), ("2006", "2005", NotEnoughHistory), ("no day", None, BadInput)],
)
def test_a_window_without_a_row_or_a_day_says_so(start: str, end: str | None, error: type[Exception]) -> None:
    whole = packaged()
    with pytest.raises(error, match="MSFT"):
        whole.window(start, end)


def double(data: Dataset) -> Dataset:
    return Dataset(data.frame * 2, data.name, data.kind)


def test_a_transform_that_is_not_of_this_package_is_refused() -> None:
    data = packaged()
    refused(lambda: gate.derive(double, data), "test_gate.double is not of this package")
    refused(lambda: gate.derive(partial(double), data), "test_gate.double() is not of this package")


def test_nothing_is_derived_from_nothing_or_from_a_bare_frame() -> None:
    refused(lambda: gate.derive(cut), "has no parents")
    refused(lambda: gate.derive(cut, packaged().frame), "carries no provenance")  # type: ignore[arg-type]


def test_modes_are_never_mixed_among_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = packaged(), live(monkeypatch)
    refused(lambda: gate.derive(cut, *parents), "would mix the modes sample and live")


def test_derived_content_names_every_source_and_all_their_terms_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = live(monkeypatch, retrieved_at="2026-11-20T00:00:00+00:00", note="a")
    macro = live(monkeypatch, "fred", name="GDP", kind="macro", retrieved_at="2026-11-21T00:00:00+00:00", note="a")
    # the transforms of two parents stand in higher rooms; here only the lineage is looked at
    monkeypatch.setattr(gate, "_ours", lambda function: True)
    both = gate.derive(lambda a, b: Dataset(a.frame + b.frame, "AAPL", "bars"), bars, macro).provenance
    assert both is not None
    assert bars.provenance is not None
    assert macro.provenance is not None
    assert both.source == "polygon+fred"
    assert both.terms == f"{bars.provenance.terms}; {macro.provenance.terms}"
    assert (both.note, both.retrieved_at) == ("a", "2026-11-21T00:00:00+00:00")
    assert both.parents == (bars.provenance.content_sha256, macro.provenance.content_sha256)


# --- a registry edited behind our back ------------------------------------------------------------------------


def held(content: Provenance) -> str:
    with store.reading() as connection:
        return str(gate._held(connection, content.content_sha256))


def test_a_registry_row_edited_in_the_database_is_refused_and_found(tamper: Tamper) -> None:
    data = packaged()
    tamper("UPDATE admitted SET provenance = replace(provenance, 'public domain', 'bought')")
    refused_line = "carries another provenance than the registry holds for it"
    with pytest.raises(Refused, match=refused_line):
        gate.verify(data, "train")
    (found,) = audit.verify()
    assert "was edited: note is 'bought', its entry says 'public domain'" in found


def test_sample_data_that_was_turned_into_live_data_is_refused_and_found(tamper: Tamper) -> None:
    """The row, and the object that carries it: both say live, the trail says sample."""
    part = packaged().window("2005-01-01")
    assert part.provenance is not None
    live = replace(part, provenance=replace(part.provenance, mode="live"))
    tamper(
        "UPDATE admitted SET provenance = :now WHERE content = :content",
        now=live.provenance.to_json(),
        content=part.fingerprint(),
    )
    with pytest.raises(Refused, match="stands in the registry otherwise than in the audit trail"):
        gate.verify(live, "train")
    (found,) = audit.verify()
    assert "was edited: mode is 'live', its entry says 'sample'" in found


def test_invented_prices_with_a_real_parent_are_refused_and_found(tamper: Tamper) -> None:
    """A row put into the registry: its parent is real, its content is a random walk."""
    real = packaged()
    walk = replace(real, frame=real.frame * np.exp(np.random.default_rng(0).normal(size=real.frame.shape)))
    assert real.provenance is not None
    origin = replace(
        real.window("2005-01-01").provenance,  # type: ignore[type-var]
        content_sha256=walk.fingerprint(),
        parents=(real.provenance.content_sha256,),
    )
    before = audit.head()
    tamper("INSERT INTO admitted VALUES (:content, :text, 'now')", content=walk.fingerprint(), text=origin.to_json())
    assert audit.head() == before
    (found,) = audit.verify()
    assert found.startswith(f"content {walk.fingerprint()[:12]} has no entry in the trail")
    with pytest.raises(Refused, match="stands in the registry otherwise than in the audit trail"):
        gate.verify(replace(walk, provenance=origin), "evaluation")


def test_an_entry_that_is_added_later_does_not_vouch_for_an_edited_row(tamper: Tamper) -> None:
    data = packaged()
    assert data.provenance is not None
    grander = replace(data.provenance, note="bought")
    audit.append("admit", content=data.fingerprint(), provenance=json.loads(grander.to_json()))
    tamper("UPDATE admitted SET provenance = :text", text=grander.to_json())
    with pytest.raises(Refused, match="stands in the registry otherwise than in the audit trail"):
        gate.verify(replace(data, provenance=grander), "train")
    assert ["was edited: note is 'bought'" in found for found in audit.verify()] == [True]


def test_content_derived_by_an_older_version_gets_its_entry_when_it_is_derived_again(tamper: Tamper) -> None:
    whole = packaged()
    part = whole.window("2005-01-01")
    tamper("DELETE FROM audit WHERE kind = 'derive'")  # older versions wrote none
    for memory in Path(os.environ["MLTRAINER_HOME"]).glob("*.head"):
        memory.unlink()
    assert ["has no entry in the trail" in found for found in audit.verify()] == [True]
    assert whole.window("2005-01-01").provenance == part.provenance
    gate.verify(part, "train")
    assert audit.verify() == []


def test_admitting_is_one_transaction_and_the_second_time_none(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, heads = packaged(), []
    writing = store.writing
    monkeypatch.setattr(store, "writing", lambda: heads.append(audit.head().size) or writing())
    for _ in range(3):
        whole.window("2005-01-01")
    assert heads == [1]


def test_an_unreadable_registry_row_is_found(tamper: Tamper) -> None:
    packaged()
    tamper("UPDATE admitted SET provenance = 'no json'")
    assert ["cannot be read" in found for found in audit.verify()] == [True]


def test_a_registry_row_moved_to_other_content_is_found(tamper: Tamper) -> None:
    data = packaged()
    assert data.provenance is not None
    tamper("INSERT INTO admitted VALUES (:content, :text, 'now')", content="f" * 64, text=data.provenance.to_json())
    alone, moved = audit.verify()
    assert "content ffffffffffff has no entry in the trail" in alone
    assert "carries the provenance of other content" in moved


def test_a_registry_row_that_was_deleted_is_found_with_everything_derived_from_it(tamper: Tamper) -> None:
    data = packaged()
    part = data.window("2005-01-01")
    assert data.provenance is not None
    assert part.provenance is not None
    tamper("DELETE FROM admitted WHERE content = :content", content=data.provenance.content_sha256)
    gone, orphan = audit.verify()
    assert "stands in the trail and is gone from its table" in gone
    assert f"content {part.provenance.content_sha256[:12]} was derived of {data.fingerprint()[:12]}" in orphan


@pytest.mark.parametrize("verb", ["UPDATE admitted SET provenance = ''", "DELETE FROM admitted"])
def test_the_registry_is_append_only(verb: str) -> None:
    data = packaged()
    assert data.provenance is not None
    with pytest.raises(StorageError, match="admitted is append-only"), store.writing() as connection:
        connection.execute(text(verb))
    assert held(data.provenance) == data.provenance.to_json()
