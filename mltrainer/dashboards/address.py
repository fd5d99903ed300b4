"""The state of a page in its address: what a visitor came with, and what the address bar shows, to be shared."""

import json
import os
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode

from websockets.sync.client import connect


def query() -> dict[str, str]:
    """The visitor's query; untrusted: it is only ever compared with what is on offer.

    A preheated kernel is started before its visitor comes. It waits here for the server to tell it who came, so that
    the slow imports are done by then, and what is stored is read fresh.
    """
    text = os.environ.get("QUERY_STRING", "")
    if preheating():
        port, kernel = os.environ["VOILA_APP_PORT"], os.environ["VOILA_KERNEL_ID"]
        # This machine is no matter for a proxy.
        with connect(f"ws://127.0.0.1:{port}/voila/query/{kernel}", proxy=None) as server:
            text = json.loads(server.recv())["QUERY_STRING"]
    return dict(parse_qsl(text, max_num_fields=20))


def preheating() -> bool:
    """Whether this kernel was started before its visitor comes."""
    return os.environ.get("VOILA_PREHEAT") == "True"


def mark(state: Mapping[str, str]) -> str:
    """Where the page stands, as HTML that nobody sees; the address bar follows it."""
    return f'<span hidden data-address="{escape(urlencode(state))}"></span>'
