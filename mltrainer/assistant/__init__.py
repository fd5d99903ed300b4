"""Questions in plain words: typed tools answer them, and every figure comes from a tool result."""

from mltrainer.assistant.asking import ask
from mltrainer.assistant.records import Answer

__all__ = ["Answer", "ask"]
