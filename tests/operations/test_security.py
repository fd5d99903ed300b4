"""Keys lie where only their owner reads them, and whoever has a copy can check it without us."""

import importlib
import json
import os
import subprocess
import sys
import warnings
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mltrainer import settings as knobs
from mltrainer.cli import app
from mltrainer.errors import BadInput, Exposed, Unavailable
from mltrainer.operations import check_trail, portable
from mltrainer.operations.security import protections
from mltrainer.trust import audit


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dotenv(here: Path, mode: int, text: str = "FRED_API_KEY=canary\n") -> None:
    (here / ".env").write_text(text)
    (here / ".env").chmod(mode)


# --- keys -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
def test_a_dotenv_with_a_key_that_others_may_read_is_warned_of(here: Path):
    dotenv(here, 0o644)
    with pytest.warns(Exposed, match="chmod 600"):
        assert knobs.settings().fred_api_key is not None
    assert ("no", "from .env") in [(p.protected, p.why) for p in protections() if p.what == "FRED_API_KEY"]
    assert CliRunner().invoke(app, ["doctor", "--security"], standalone_mode=False).return_value == 1


def test_a_dotenv_of_ones_own_or_without_keys_is_not_warned_of(here: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dotenv(here, 0o600)
        assert knobs.settings().fred_api_key is not None
        dotenv(here, 0o644, "MLTRAINER_WORLDS=0\n")
        assert knobs.settings().fred_api_key is None
    assert all(p.protected != "no" for p in protections() if p.what == ".env")


KEYRING = (
    "def get_password(service, name):\n    return {('mltrainer', 'FRED_API_KEY'): 'of-the-ring'}.get((service, name))\n"
)


def test_keys_come_from_the_environment_before_dotenv_before_the_keyring(here: Path, monkeypatch: pytest.MonkeyPatch):
    """The keyring is a module of this interface, as the package keyring documents it."""
    (here / "lib").mkdir()
    (here / "lib" / "keyring.py").write_text(KEYRING)
    monkeypatch.syspath_prepend(here / "lib")
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    knobs._read.cache_clear()

    def key() -> tuple[str, str]:
        held = knobs.settings().fred_api_key
        assert held is not None
        return held.get_secret_value(), knobs.origins()["FRED_API_KEY"]

    assert key() == ("of-the-ring", "the keyring")
    dotenv(here, 0o600)
    assert key() == ("canary", ".env")
    monkeypatch.setenv("FRED_API_KEY", "of-the-shell")
    assert key() == ("of-the-shell", "the environment")
    del sys.modules["keyring"]  # which monkeypatch would bring back
    knobs._read.cache_clear()


def test_what_is_said_of_protection_holds_no_key(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POLYGON_API_KEY", "canary-1")
    monkeypatch.setenv("MLTRAINER_PASSPHRASE", "canary-2")
    audit.append("first")
    said = CliRunner().invoke(app, ["doctor", "--security", "--json"]).stdout
    assert "canary" not in said
    rows = {r["what"]: r["protected"] for r in json.loads(said)}
    assert rows["POLYGON_API_KEY"] == "yes"
    assert rows["backups"] == "yes"
    assert rows["rows at rest"] == "by you"
    assert rows["results and kept answers at rest"] == "by you"


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
def test_a_state_folder_that_others_may_enter_is_named(home: Path):
    audit.append("first")
    assert {p.what: p.protected for p in protections()}["state folder"] == "yes"
    home.chmod(0o755)
    assert {p.what: p.protected for p in protections()}["state folder"] == "no"


# --- what a copy can prove ------------------------------------------------------------------------------------


def checked(*words: object) -> tuple[int, str]:
    """The script run by itself, with no package of ours or of others."""
    call = [sys.executable, "-I", "-S", *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An exported trail, and a copy of a run that it tells of."""
    audit.append("trial", key="k" * 64, blob="b" * 64)
    head = audit.head()
    run = tmp_path / "run"
    run.mkdir()
    (run / "index.html").write_text("page")
    result = {"model": "M", "ticker": "MSFT", "status": "ok", "key": "k" * 64, "blob": "b" * 64}
    outputs = {"index.html": sha256(b"page").hexdigest()}
    manifest = json.dumps({"outputs": outputs, "results": [result], "audit_head": str(head)}).encode()
    (run / "manifest.json").write_bytes(manifest)
    audit.append("report", run="run", manifest=sha256(manifest).hexdigest())
    portable.export(tmp_path / "trail.jsonl")
    return tmp_path / "trail.jsonl", run


def test_a_colleague_checks_a_copy_of_a_run_with_python_alone(copy: tuple[Path, Path]):
    trail, run = copy
    script = trail.with_name("check_trail.py")
    assert checked(script, trail, run) == (0, f"2 entries hold, and so does {run}\n")
    assert checked(script, trail, "--head", str(audit.head()))[0] == 0
    assert checked(script, trail, "--head", f"3:{'0' * 64}")[0] == 1
    (run / "index.html").write_text("other")
    assert checked(script, trail, run) == (1, "file index.html was changed\n")
    (run / "manifest.json").write_text((run / "manifest.json").read_text().replace("b" * 64, "c" * 64))
    said = checked(script, trail, run)[1]
    assert "manifest.json is not one that the trail tells of" in said
    assert "the trail tells of no result of M on MSFT" in said


@pytest.mark.parametrize("line", [0, 1])
def test_an_exported_trail_that_was_edited_or_cut_is_found_by_the_script(copy: tuple[Path, Path], line: int):
    trail, _ = copy
    lines = trail.read_text().splitlines()
    trail.write_text("\n".join(x.replace('"actor": "', '"actor": "x') if i == line else x for i, x in enumerate(lines)))
    assert f"entry {line + 1} was edited" in checked(trail.with_name("check_trail.py"), trail)[1]
    trail.write_text(lines[1 - line])
    assert checked(trail.with_name("check_trail.py"), trail, "--head", str(audit.head()))[0] == 1


VECTORS = [  # RFC 8032, section 7.1, tests 1 to 3: public key, message, signature
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_signatures_of_rfc_8032_hold_and_no_others(public: str, message: str, signature: str):
    key, text, sig = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert check_trail.signed(key, text, sig)
    assert not check_trail.signed(key, text + b"x", sig)
    assert not check_trail.signed(key, text, sig[:-1] + bytes([sig[-1] ^ 1]))
    assert not check_trail.signed(bytes.fromhex(VECTORS[0][0] if public != VECTORS[0][0] else VECTORS[1][0]), text, sig)
    high = (int.from_bytes(sig[32:], "little") + check_trail.L).to_bytes(32, "little")
    assert not check_trail.signed(key, text, sig[:32] + high)  # one signature has one form


def test_a_signed_head_is_checked_with_python_alone_or_the_missing_package_is_named(copy: tuple[Path, Path]):
    trail, _ = copy
    key, note = trail.with_name("key"), trail.with_name("head.json")
    try:
        importlib.import_module("cryptography")
    except ImportError:
        with pytest.raises(Unavailable, match=r"pip install 'mltrainer\[encrypted\]'"):
            portable.sign(key)
        return
    said = portable.sign(key)
    note.write_text(json.dumps(said))
    call = [trail.with_name("check_trail.py"), trail, "--signed", note, "--public"]
    assert checked(*call, said["public_key"])[0] == 0
    assert "signed by another key" in checked(*call, "0" * 64)[1]
    note.write_text(json.dumps(said | {"head": f"1:{'0' * 64}"}))
    assert "does not hold" in checked(*call, said["public_key"])[1]
    key.chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        portable.sign(key)


def test_a_wrong_word_to_the_script_is_one_line(copy: tuple[Path, Path], tmp_path: Path):
    trail, _ = copy
    for words, said in (
        ((trail, "--head", "nonsense"), "--head reads SIZE:HASH"),
        ((tmp_path / "absent.jsonl",), "is no exported trail"),
        ((trail, tmp_path), "has no manifest.json"),
    ):
        call = [sys.executable, "-I", "-S", str(trail.with_name("check_trail.py")), *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert said in done.stderr.splitlines()[-1]


def test_a_trail_is_never_exported_over_a_file(home: Path, tmp_path: Path):
    audit.append("work")
    (tmp_path / "trail.jsonl").write_text("theirs")
    with pytest.raises(BadInput, match="is there already; give a new name"):
        portable.export(tmp_path / "trail.jsonl")
    assert (tmp_path / "trail.jsonl").read_text() == "theirs"


def test_another_script_of_that_name_is_not_overwritten(home: Path, tmp_path: Path):
    audit.append("first")
    with pytest.raises(BadInput, match="give another name"):
        portable.export(tmp_path / "check_trail.py")
    (tmp_path / "check_trail.py").write_text("mine")
    with pytest.raises(BadInput, match="is another one than this version's"):
        portable.export(tmp_path / "trail.jsonl")
    assert (tmp_path / "check_trail.py").read_text() == "mine"
