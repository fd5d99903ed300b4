"""Behind a reverse proxy: whose word is taken for who asks, under which name and over which protocol.

A page's origin is compared with the name that its visitor sees, which behind a proxy stands in headers that anybody can
send. They are believed of the proxies that whoever runs the server named, and taken off every request.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from tornado import web
from tornado.httputil import HTTPServerRequest, split_host_and_port

from mltrainer.errors import BadInput

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?)*")
SAID = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
OTHERS = ("Forwarded", "X-Real-Ip", "X-Scheme", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix")


def listed(text: str) -> list[str]:
    """The parts of a setting, by commas or spaces."""
    return [part for part in re.split(r"[\s,]+", text.strip()) if part]


def networks(text: str) -> list[str]:
    """The networks of trusted proxies as they were set, or `BadInput`."""
    for part in (found := listed(text)):
        try:
            network = ip_network(part)
        except ValueError:
            raise BadInput(f"setting MLTRAINER_TRUSTED_PROXIES: {part[:50]!a} is no address and no network") from None
        if network.prefixlen == 0:
            raise BadInput("setting MLTRAINER_TRUSTED_PROXIES: everybody is no proxy; name its address")
    return found


def names(text: str) -> list[str]:
    """The names under which the server is reached, or `BadInput`."""
    for part in (found := listed(text.lower())):
        if not NAME.fullmatch(part) or len(part) > 253:
            raise BadInput(
                f"setting MLTRAINER_PUBLIC_HOSTS: {part[:50]!a} is no host name; leave out https:// and port"
            )
    return found


class Behind(web.Application):
    """An application that sees requests as its visitors sent them to the proxy."""

    def __init__(self, *given: Any, proxies: Sequence[str] = (), **settings: Any) -> None:
        self.proxies = [ip_network(part) for part in proxies]
        super().__init__(*given, **settings)

    def trusts(self, address: str) -> bool:
        """Whether an address is a proxy's."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Read what a proxy says, before anything else looks at the request."""
        said = {name: request.headers.get(name, "").strip() for name in SAID}
        known = [request.headers.pop(name, None) for name in (*SAID, *OTHERS)]
        request.forwarded = any(known)  # type: ignore[attr-defined]  # whoever it is, it is not our own kernel
        if self.trusts(request.remote_ip or ""):
            self._seen(request, *said.values())
        return super().find_handler(request, **kwargs)

    def _seen(self, request: HTTPServerRequest, client: str, host: str, protocol: str) -> None:
        """Put what the proxy saw in its place; what is no host or no address changes nothing, and so opens nothing."""
        if re.fullmatch(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?", host):
            request.host = request.headers["Host"] = host.lower()
            request.host_name = split_host_and_port(request.host)[0]
        if protocol in ("http", "https"):
            request.protocol = protocol
        for address in reversed(listed(client)):  # the nearest is what our proxy saw; those before it anybody may write
            try:
                ip_address(address)
            except ValueError:
                return
            request.remote_ip = address
            if not self.trusts(address):
                return
