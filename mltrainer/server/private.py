"""What the serving process alone knows: the key of the chat's language model.

A client of a provider reads its key from the environment, so it has to stand in this process's own; kernels and
trainings, which are started from here, get an environment without it.
"""

import os
from collections.abc import Mapping

_names: set[str] = set()


def learn(variables: Mapping[str, str]) -> None:
    """Take variables into this process's environment, and pass them on to no other."""
    os.environ.update(variables)
    _names.update(variables)


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for another process."""
    return {name: value for name, value in environment.items() if name not in _names}


# What pydantic-ai's client of a provider reads, by the first word of its name; of any other the word itself.
CLIENTS = {
    "google": ("GOOGLE_", "GEMINI_"),
    "bedrock": ("AWS_",),
    "azure": ("AZURE_", "OPENAI_API_VERSION"),
    "cohere": ("CO_API_KEY",),
    "huggingface": ("HF_",),
    "grok": ("GROK_", "XAI_"),
    "gateway": ("PYDANTIC_AI_GATEWAY_",),
}
WAY = "HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR".split()  # how it is reached from here


def of_model(llm: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a language model `provider:name` is reached by.

    >>> of_model("openai:gpt-5", {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "other"})
    {'OPENAI_API_KEY': 'k', 'MLTRAINER_LLM': 'openai:gpt-5'}
    """
    if not llm:
        return {}
    word = llm.partition(":")[0].partition("/")[0].partition("-")[0].lower()
    begins = CLIENTS.get(word, (f"{word.upper()}_",))
    found = {k: v for k, v in environment.items() if k.upper().startswith(begins) or k.upper() in WAY}
    return found | {"MLTRAINER_LLM": llm}
