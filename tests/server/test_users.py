"""Users are what their entries make of them; a token is shown once and kept nowhere."""

import json
from pathlib import Path

import pytest
from databases import Tamper
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput, UnknownName
from mltrainer.server import users
from mltrainer.server.identity import Throttle, member
from mltrainer.server.roles import PERMISSIONS, ROLES, allowed
from mltrainer.trust import audit


@pytest.mark.parametrize("role", ROLES)
def test_what_is_in_no_row_nobody_may(role: str):
    assert not allowed(role, "")
    assert not allowed(role, "kernels:execute")
    assert {p for p in PERMISSIONS if allowed(role, p)}


def test_no_role_but_those_in_the_table_may_anything():
    assert not any(allowed(role, p) for role in ("", "root", "Admin", "viewer ") for p in PERMISSIONS)


def test_who_reads_more_does_not_lose_what_a_viewer_reads():
    reads = {p for p in PERMISSIONS if p.endswith(":read") and allowed("viewer", p)}
    for role in ROLES:
        assert reads <= {p for p in PERMISSIONS if allowed(role, p)}


def test_an_auditor_starts_nothing():
    assert {p.partition(":")[2] for p in PERMISSIONS if allowed("auditor", p)} == {"read"}


def test_a_token_is_found_by_itself_and_its_user_comes_in_no_more_once_removed():
    token = users.add("ann", "auditor")
    found = users.find(token)
    assert found is not None
    assert (found.name, found.role) == ("ann", "auditor")
    assert users.find(token[:-1]) is None
    users.remove("ann")
    assert users.find(token) is None
    assert users.users() == []


def test_another_token_voids_the_one_before_and_the_sessions_it_began():
    first = users.add("ann", "admin")
    before = users.find(first)
    second = users.rotate("ann")
    after = users.find(second)
    assert before is not None
    assert after is not None
    assert users.find(first) is None
    assert after.role == "admin"
    assert member("ann", "admin", before.digest).seal != member("ann", "admin", after.digest).seal


def test_whoever_was_removed_may_be_let_in_again_in_another_role():
    old = users.add("ann", "admin")
    users.remove("ann")
    new = users.add("ann", "viewer")
    assert users.find(old) is None
    assert (users.find(new) or pytest.fail("not found")).role == "viewer"


def test_no_file_of_the_home_holds_a_token(home: Path):
    tokens = [users.add("ann", "viewer"), users.rotate("ann")]
    held = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert not any(token.encode() in held for token in tokens)
    assert home.stat().st_mode & 0o077 == 0


def test_each_change_is_in_the_trail_and_a_user_put_there_by_hand_is_found(tamper: Tamper):
    users.add("ann", "viewer")
    users.rotate("ann")
    users.remove("ann")
    assert [e.payload["event"] for e in audit.entries(kind="user")] == ["added", "rotated", "removed"]
    assert audit.verify() == []
    said = json.dumps({"event": "added", "role": "admin", "digest": "0" * 64})
    tamper("INSERT INTO users (key, at, name, payload) VALUES ('k', 'now', 'eve', :said)", said=said)
    assert any("put there by hand" in line for line in audit.verify())


def test_a_role_that_was_raised_by_hand_is_found(tamper: Tamper):
    users.add("ann", "viewer")
    tamper("UPDATE users SET payload = replace(payload, 'viewer', 'admin')")
    assert any(line.startswith("user ") and "was edited" in line for line in audit.verify())


@pytest.mark.parametrize("name", ["", "Ann", "a" * 33, "../x", "a b", "1a", "ann\n", "viewer", "admin"])
def test_a_name_that_could_be_mistaken_is_refused(name: str):
    with pytest.raises(BadInput):
        users.add(name, "viewer")


def test_a_mistake_names_what_there_is():
    users.add("ann", "viewer")
    with pytest.raises(BadInput, match="user rotate ann"):
        users.add("ann", "admin")
    with pytest.raises(UnknownName, match="no role is called 'auditer'; close: auditor"):
        users.add("bob", "auditer")
    for change in (users.rotate, users.remove):
        with pytest.raises(UnknownName, match="no user is called 'anne'; close: ann"):
            change("anne")


# --- guessing -------------------------------------------------------------------------------------------------


def test_so_many_wrong_tokens_at_once_and_then_one_every_so_often():
    now = [0.0]
    throttle = Throttle(guesses=3, every=10.0, clock=lambda: now[0])
    for _ in range(3):
        assert throttle.wait("a") == 0
        throttle.wrong("a")
    assert throttle.wait("a") == 10
    assert throttle.wait("b") == 0
    now[0] = 10
    assert throttle.wait("a") == 0
    throttle.wrong("a")
    assert throttle.wait("a") == 10
    now[0] = 1000
    assert throttle.wait("a") == 0


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_stretch_of_time_has_more_wrong_tokens_than_the_bucket_and_its_filling(pauses: list[float]):
    now, tried = [0.0], []
    throttle = Throttle(guesses=4, every=6.0, clock=lambda: now[0])
    for pause in pauses:
        now[0] += pause
        if not throttle.wait("a"):
            throttle.wrong("a")
            tried.append(now[0])
    for n, begin in enumerate(tried):
        for m, end in enumerate(tried[n:], 1):
            assert m <= 4 + (end - begin) / 6 + 1e-9


def test_an_attacker_with_many_addresses_does_not_fill_the_memory():
    throttle = Throttle()
    for n in range(10_000):
        throttle.wrong(str(n))
    assert len(throttle._empty_until) <= 4096
