"""What the replayed providers share: packaged tables, and the answers other than 200."""

import base64
import gzip
import io
from functools import cache
from typing import Any

import pandas as pd

from mltrainer.data.sample import packaged_bytes

Params = dict[str, str]
Row = dict[str, Any]


class Http(Exception):
    """An answer other than 200, by the provider's own envelope."""

    def __init__(self, status: int, body: Row) -> None:
        super().__init__(status)
        self.status, self.body = status, body


@cache
def table(package: str, path: str) -> pd.DataFrame:
    body = packaged_bytes(package, path)
    return pd.read_csv(io.BytesIO(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def decoded(text: str) -> str:
    return base64.b64decode(text + "=" * (-len(text) % 4)).decode()
