"""Who is it? The token that `serve` made is a viewer's; every other is a user's, in the role that this server keeps."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User
from tornado import web
from traitlets import Instance

from mltrainer.server.faults import Fault

HOLDER = "viewer"  # who holds the server's own token: everybody it was given to is the same user, in this role
GUESSES, EVERY = 20, 6.0  # wrong tokens of one address: so many at once, then one in so many seconds
REMEMBERED = 4096  # addresses; beyond it those that have not guessed for longest are forgotten


@dataclass
class Member(User):
    """A user with a role; `seal` is of the token in force, so that a session ends with its token."""

    role: str = ""
    seal: str = ""


class Throttle:
    """Wrong tokens by address: a bucket that holds `guesses` and is filled by one every `every` seconds."""

    def __init__(self, guesses: int = GUESSES, every: float = EVERY, clock: Callable[[], float] = time.monotonic):
        self.guesses, self.every, self.clock = guesses, every, clock
        self._empty_until: dict[str, float] = {}  # when the bucket would be full again

    def wait(self, address: str) -> float:
        """Seconds until another wrong token of an address is taken as a mistake; 0 for now."""
        debt = self._empty_until.get(address, 0.0) - self.clock()
        return max(0.0, debt - (self.guesses - 1) * self.every)

    def wrong(self, address: str) -> None:
        """Note a wrong token."""
        since = max(self._empty_until.pop(address, 0.0), self.clock())
        self._empty_until[address] = since + self.every
        while len(self._empty_until) > REMEMBERED:
            del self._empty_until[next(iter(self._empty_until))]


class Doorkeeper(IdentityProvider):
    """By token, or by the signed cookie of a session; there are no passwords and no anonymous visitors."""

    throttle = Instance(Throttle, ())

    def holder(self) -> Member:
        """Whoever holds the server's own token."""
        return member(HOLDER, HOLDER, sha256(self.token.encode()).hexdigest())

    def known(self, token: str) -> Member | None:
        """Who a token belongs to."""
        if compare_digest(token.encode(), self.token.encode()):
            return self.holder()
        from mltrainer.server import users  # loads the database, which a holder of our own token need not wait for

        found = users.find(token)
        return member(found.name, found.role, found.digest) if found else None

    def guessed(self, handler: web.RequestHandler, token: str) -> Member | None:
        """Who a token belongs to; 429 for one that is nobody's from an address that has tried too many of them.

        It is looked at first: many may stand behind one address, and whoever guesses there shuts out no other.
        """
        found, address = self.known(token), handler.request.remote_ip or ""
        if found is None:
            if wait := self.throttle.wait(address):
                raise Fault(429, Retry_After=str(int(wait) + 1))
            self.throttle.wrong(address)
        return found

    async def get_user_token(self, handler: web.RequestHandler) -> User | None:
        """Who the token of a request belongs to."""
        token = self.get_token(handler)
        return self.guessed(handler, token) if token else None

    def process_login_form(self, handler: web.RequestHandler) -> User | None:
        """Who the token in the form belongs to."""
        return self.guessed(handler, handler.get_argument("password", default=""))

    def set_login_cookie(self, handler: web.RequestHandler, user: User) -> None:
        """Begin a session for a browser; a program that sends its token with each request needs none."""
        if "Authorization" not in handler.request.headers:
            super().set_login_cookie(handler, user)

    def user_to_cookie(self, user: User) -> str:
        """The name, and of which token the session is; never the role."""
        return json.dumps({"name": user.username, "seal": getattr(user, "seal", "")})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """The user of a session, in the role they have now, if the token that began it is still in force."""
        said = json.loads(cookie_value)
        if said["name"] == HOLDER:
            found: Member | None = self.holder()
        else:
            from mltrainer.server import users

            row = users.named(said["name"])
            found = member(row.name, row.role, row.digest) if row else None
        return found if found is not None and compare_digest(found.seal, said["seal"]) else None


def member(name: str, role: str, digest: str) -> Member:
    """A user with the seal of a token's hash: a hash of the hash, as the cookie shows it to its holder."""
    seal = sha256(f"session {digest}".encode()).hexdigest()[:32]
    return Member(name, role=role, seal=seal)


def name_of(handler: Any) -> str:
    """The name of whoever asks; Lab gives its users names by chance, and is one researcher's own."""
    return str(handler.current_user.username) if isinstance(handler.current_user, Member) else "lab"


def role_of(handler: Any) -> str:
    """The role of whoever asks; Lab's own token is a researcher's, and what nobody gave a role has none."""
    user = handler.current_user
    return str(getattr(user, "role", "") or (handler.settings.get("mltrainer_role", "") if user else ""))


def present(handler: Any) -> str:
    """The role of whoever holds a socket, as it is now: none, once the token they came with is no longer in force."""
    user, doors = handler.current_user, handler.identity_provider
    if not isinstance(doors, Doorkeeper):
        return role_of(handler)
    found = doors.user_from_cookie(doors.user_to_cookie(user))
    return found.role if isinstance(found, Member) else ""
