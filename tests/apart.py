"""Coroutines of tests in a thread of their own: one that drives a browser has a loop running in its own."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def apart(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, coroutine).result()
