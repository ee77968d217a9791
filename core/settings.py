"""Settings: flags, then environment, then a ``.env`` file in the current folder, then these defaults.

``ELASTICSEARCH_*`` say which Elasticsearch to use; without ``ELASTICSEARCH_URL`` Facedex runs a node of its own.
``FACEDEX_*`` say the rest.
"""

from __future__ import annotations

import stat
from functools import cache
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import UsageError, remedy

ELASTICSEARCH_VERSION = "9.5.4"


def _elastic(name: str) -> AliasChoices:
    return AliasChoices(f"FACEDEX_ELASTICSEARCH_{name}", f"ELASTICSEARCH_{name}")


class Settings(BaseSettings):
    """One value per setting; units stand in the names or the comments."""

    model_config = SettingsConfigDict(env_prefix="FACEDEX_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    # Which Elasticsearch: empty means Facedex's own cluster or node. Several addresses have commas in between.
    url: Annotated[str | None, Field(validation_alias=_elastic("URL"))] = None
    api_key: Annotated[SecretStr | None, Field(validation_alias=_elastic("API_KEY"))] = None
    username: Annotated[str | None, Field(validation_alias=_elastic("USERNAME"))] = None
    password: Annotated[SecretStr | None, Field(validation_alias=_elastic("PASSWORD"))] = None
    # Files that hold them instead, as containers are given secrets; read by :func:`settings`.
    api_key_file: Annotated[Path | None, Field(validation_alias=_elastic("API_KEY_FILE"))] = None
    password_file: Annotated[Path | None, Field(validation_alias=_elastic("PASSWORD_FILE"))] = None
    ca_certs: Annotated[Path | None, Field(validation_alias=_elastic("CA_CERTS"))] = None
    ca_fingerprint: Annotated[str | None, Field(validation_alias=_elastic("CA_FINGERPRINT"))] = None
    allow_insecure: bool = False  # lets a cluster on another machine have no TLS, or no password
    request_timeout: float = 60.0  # seconds
    retry_seconds: float = Field(default=120.0, ge=0)  # how long a busy cluster, or one that is away, is asked again

    snapshot_repository: str | None = None  # of the cluster; else the one that there is

    # Folders: the cache can be deleted at any time, the data folder holds the embedded node's faces.
    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("facedex"))
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("facedex"))

    # The embedded node.
    java_home: Path | None = None  # else JAVA_HOME, the PATH and the usual folders are searched for a JDK >= 21
    node_port: int = Field(default=0, ge=0, le=65535)  # 0: any free port
    node_heap: str | None = Field(default=None, pattern=r"^\d+[mMgG]$")  # for instance 2g; else a quarter of the memory, 512 MB to 4 GB
    node_idle_minutes: float = Field(default=30.0, gt=0)  # it stops by itself when no command came for so long
    node_user: str = "nobody"  # started by root, the node becomes this user: Elasticsearch refuses to run as root
    node_start_seconds: float = Field(default=180.0, gt=0)

    # Photos.
    max_pixels: int = Field(default=100_000_000, gt=0)  # a photo with more is rejected unread
    web_seconds: float = Field(default=30.0, gt=0, le=3600)  # a photo of the web, or of another machine, that takes longer is rejected
    allow_private_addresses: bool = False  # lets addresses lead into private networks

    # Operations: who searched when, and what for; and Kibana, which shows them.
    record_operations: bool = True
    purpose: str | None = None  # of searches that name none
    kibana_url: Annotated[str, Field(validation_alias=AliasChoices("FACEDEX_KIBANA_URL", "KIBANA_URL"))] = "http://127.0.0.1:5601"


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        UsageError: a value does not fit its type, or a file that should hold it does not; the sentence names the variable.
    """
    try:
        return _with_secrets(Settings())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        give = "give a number and m or g, for example 2g" if name == "NODE_HEAP" else remedy(error)
        name = name if name.startswith(("FACEDEX_", "ELASTICSEARCH_")) else f"FACEDEX_{name}"
        raise UsageError(f"The setting {name} can't be used: {give}.") from None


def _with_secrets(found: Settings) -> Settings:
    """The settings, with what stands in files."""
    files = {"api_key": found.api_key_file, "password": found.password_file}
    for name, file in files.items():
        if file is not None and getattr(found, name) is not None:
            raise UsageError(f"Set ELASTICSEARCH_{name.upper()} or ELASTICSEARCH_{name.upper()}_FILE, not both.")
    read = {name: _secret(file, f"ELASTICSEARCH_{name.upper()}_FILE") for name, file in files.items() if file is not None}
    return found.model_copy(update=read) if read else found


def _secret(file: Path, variable: str) -> SecretStr:
    try:
        secret = file.read_text(encoding="utf-8").strip()
        is_open = file.stat().st_mode & stat.S_IROTH
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"The file {str(file)!r}, which {variable} names, can't be read: {why}.") from None
    if not secret:
        raise UsageError(f"The file {str(file)!r}, which {variable} names, is empty.")
    if is_open:
        from core.terminal import say

        say(f"facedex: others on this machine can read {file}, which {variable} names: close it with `chmod 600`.")
    return SecretStr(secret)
