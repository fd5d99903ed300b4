"""One table of knobs, read from the environment or a `.env` file; secrets live nowhere else."""

import importlib
import os
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from platformdirs import user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mltrainer.errors import BadInput, Exposed

Mode = Literal["live", "sample", "replay"]


class Keyring(PydanticBaseSettingsSource):
    """Secrets from the keyring of the operating system, service `mltrainer`, if package keyring is installed."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """The secret under the name of its environment variable; nothing for what is no secret."""
        return (kept(_variable(field_name)) if _secret(field_name) else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All that the keyring holds."""
        found = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def kept(variable: str) -> str | None:
    """What the keyring holds under a name; None where there is no keyring or it does not answer."""
    try:
        found = importlib.import_module("keyring").get_password("mltrainer", variable)
    except Exception:  # whatever a locked, foreign or absent keyring says: it holds nothing for us
        return None
    return str(found) if found else None


def folder_or_bucket(text: str) -> Path | str:
    """The folder that a path or a file:// address means, or the address of a bucket; `ValueError` for all else."""
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(text).expanduser().absolute()  # one folder, wherever later steps stand
    if scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/?#@\s]+)*/?", rest):
        return text.rstrip("/")
    if scheme != "file" or not rest.startswith("/"):
        raise ValueError("write a folder, file:///folder or s3://bucket/prefix, without a key; mount other storage")
    return Path(unquote(rest))


class Settings(BaseSettings):
    """Every setting, its environment variable (MLTRAINER_ and the field's name) and its default."""

    model_config = SettingsConfigDict(
        env_prefix="MLTRAINER_", env_file=".env", extra="ignore", populate_by_name=True, frozen=True
    )

    polygon_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("POLYGON_API_KEY", "MASSIVE_API_KEY"),
        description="key for Polygon (Massive); its presence selects mode live",
    )
    fred_api_key: SecretStr | None = Field(None, validation_alias="FRED_API_KEY", description="key for FRED")
    mode: Literal["auto", "live", "sample", "replay"] = Field("auto", description="auto: live with keys, else sample")
    home: Path = Field(
        default_factory=lambda: user_data_path("mltrainer"),
        description="state: audit trail, registry, trials, results; default the platform's user data folder",
    )
    out: Path | None = Field(None, description="folder of report runs; default `reports` where you stand")
    database_url: str | None = Field(None, description="SQLAlchemy URL; default SQLite in MLTRAINER_HOME")
    dashboard_database_url: str | None = Field(
        None,
        description="the same database by a role that may only read, for the pages of `serve`; default the same",
    )
    blobs: Path | str | None = Field(
        None,
        description="folder or s3://bucket/prefix of results, for several homes on one database; default "
        "MLTRAINER_HOME",
    )
    polygon_url: str | None = Field(
        None,
        description="Polygon's address: api.massive.com (default), api.polygon.io; in mode replay one on this machine",
    )
    polygon_stream_url: str | None = Field(
        None,
        description="Polygon's stream: wss://socket.massive.com/stocks (default) or, for delayed plans, "
        "wss://delayed.massive.com/stocks",
    )
    fred_url: str | None = Field(None, description="FRED's address; another than its own only in mode replay")
    polygon_per_minute: int = Field(
        5, ge=1, description="requests a minute that the Polygon plan allows; never more than 50 a second are sent"
    )
    cache_url: str | None = Field(None, description="redis:// for kept answers; default a file in MLTRAINER_HOME")
    fred_on_disk: bool = Field(
        False, description="keep FRED's answers on disk too; by its terms they are otherwise held in memory only"
    )
    alert_urls: SecretStr | None = Field(
        None, description="where alerts are sent: addresses as apprise takes them, by spaces; they hold secrets"
    )
    passphrase: SecretStr | None = Field(
        None, description="seals backups; in the environment or the keyring, never on a command line"
    )
    encryption_key_file: Path | None = Field(
        None,
        description="file of keys, for its owner alone, by which results and kept answers are encrypted; default the "
        "keyring's MLTRAINER_ENCRYPTION_KEY, else in clear",
    )
    offline: bool = Field(False, description="use only what was fetched before, of whatever age, and say its date")
    wire_seconds: float = Field(
        45.0, gt=0, le=60, description="time in which a provider must have answered, retries included"
    )
    task_seconds: float = Field(
        300.0, gt=0, description="wall-clock budget of one model on one ticker; the worker is ended"
    )
    task_megabytes: float = Field(2000.0, gt=0, description="memory budget of one worker; the worker is ended")
    share: bool = Field(
        True, description="what several models of a batch have in common is fitted once, to the same bits"
    )
    dask: str | None = Field(
        None,
        description="Dask scheduler, tcp:// or tls://host:port, whose workers run all batches; it runs anybody's code",
    )

    log: Literal["off", "debug", "info", "warning", "error"] = Field(
        "info", description="least level of what servers log, as JSON lines in logs/ of MLTRAINER_HOME; secrets masked"
    )
    trusted_proxies: str = Field(
        "", description="addresses or networks whose X-Forwarded headers `serve` believes, by commas; default none"
    )
    public_hosts: str = Field(
        "", description="host names under which a reverse proxy shows `serve`, by commas; default none but localhost"
    )
    llm: str | None = Field(
        None, description="language model of the chat as provider:model; default none, and phrasings are understood"
    )
    alternative: str = Field(
        "", description="alternative sources that are let in beside market data, by commas; none by default"
    )
    project: str = Field("", description="what trials are made for: a label in the ledger, and no other luck")
    worlds: int = Field(
        100, ge=0, description="worlds without skill by which each report measures its verdict; 0 for none"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before `.env` before the keyring."""
        return init_settings, env_settings, dotenv_settings, Keyring(settings_cls)

    @field_validator("blobs", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if value is None or not str(value).strip():
            return None
        return folder_or_bucket(str(value))

    @field_validator("encryption_key_file", mode="before")
    @classmethod
    def _place(cls, value: object) -> object:
        return Path(str(value)).expanduser().absolute() if value is not None and str(value).strip() else None

    @field_validator("passphrase", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        return value or None  # an empty word seals nothing

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Names of the alternative sources that are allowed."""
        return tuple(dict.fromkeys(name for part in self.alternative.split(",") if (name := part.strip())))

    @property
    def data_mode(self) -> Mode:
        """The mode in force: `auto` means live when a Polygon key is present, else sample."""
        if self.mode != "auto":
            return self.mode
        return "live" if self.polygon_api_key else "sample"


def settings() -> Settings:
    """Read the settings as they are now: a changed environment, `.env` or working folder is a changed setting."""
    named = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("MLTRAINER_") or k.endswith("_API_KEY")))
    dotenv = Path(".env")
    return _read(named, Path.cwd(), dotenv.stat().st_mtime_ns if dotenv.is_file() else 0, os.environ.get("HOME"))


@lru_cache(maxsize=8)  # reading them takes milliseconds, and the store asks at every transaction
def _read(*_state: object) -> Settings:
    if exposed():
        warnings.warn(Exposed(".env of this folder holds keys and others may read it; chmod 600 .env"), stacklevel=4)
    try:
        return Settings()
    except OSError as error:
        raise BadInput(f".env of this folder cannot be read ({error.strerror}); make it readable for you") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"MLTRAINER_{name.upper()}"
        raise BadInput(f"setting {variable}: {first['msg'].lower()}; correct it in the environment or .env") from None


def exposed() -> bool:
    """Whether `.env` holds a key that other users of the machine may read."""
    dotenv = Path(".env")
    if os.name == "nt" or not dotenv.is_file() or not dotenv.stat().st_mode & 0o077:
        return False
    try:
        names = {line.partition("=")[0].strip().removeprefix("export ") for line in dotenv.read_text().splitlines()}
    except (OSError, UnicodeError):
        return False  # who reads the settings says so
    return bool(names & {variable for name in Settings.model_fields if _secret(name) for variable in _variables(name)})


def origins() -> dict[str, str]:
    """Where each secret that is set comes from: "the environment", ".env" or "the keyring"; never what it is."""
    found, here = {}, settings()
    for name in Settings.model_fields:
        if _secret(name) and getattr(here, name) is not None:
            known = any(variable in os.environ for variable in _variables(name))
            elsewhere = "the keyring" if kept(_variable(name)) == getattr(here, name).get_secret_value() else ".env"
            found[_variable(name)] = "the environment" if known else elsewhere
    return found


def _secret(field: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[field].annotation)


def _variables(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    return [str(c) for c in alias.choices] if isinstance(alias, AliasChoices) else [_variable(field)]


def environment() -> dict[str, str]:
    """What is set here, by the environment or a `.env`, as variables for a process that will stand in another folder.

    Paths are absolute, and the home is always told. It holds the keys.
    """
    here = settings()
    known = {name: getattr(here, name) for name in here.model_fields_set | {"home"}}
    return {_variable(name): _told(value) for name, value in known.items() if value is not None}


def _variable(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    first = alias.choices[0] if isinstance(alias, AliasChoices) else alias
    return str(first or f"MLTRAINER_{field}").upper()


def _told(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.absolute())
    database = re.fullmatch(r"(sqlite\w*(?:\+\w+)?:///)([^/:].*)", str(value))
    return database[1] + str(Path(database[2]).absolute()) if database else str(value)
