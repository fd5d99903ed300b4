"""Doors on the network: `lab` for researchers, who may run anything; `serve` for stakeholders, who may only look."""

from mltrainer.server.lab import lab
from mltrainer.server.serve import serve

__all__ = ["lab", "serve"]
