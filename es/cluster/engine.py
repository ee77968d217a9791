"""The Docker engine: how it is reached, its errors turned into one sentence each, and images."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

_SOCKET = "unix:///var/run/docker.sock"
_QUICK_SECONDS = 3
_SECONDS = 120  # for one answer: a slow disk takes its time to make a container
_TELL_SECONDS = 10  # between two words about a download


def available() -> bool:
    """Whether an engine answers. Never raises."""
    try:
        with engine(_QUICK_SECONDS) as client:
            return bool(client.ping())
    except Exception:  # noqa: BLE001 - whatever it is, there is no engine to use
        return False


@contextmanager
def engine(seconds: int = _SECONDS) -> Iterator[DockerClient]:
    """A client of the engine that DOCKER_HOST names, else of this machine's; every call to it is made inside this.

    Raises:
        EngineError: there is none (``no_docker``), it doesn't let this user in (``docker_denied``), or it refuses what is asked.
    """
    import docker
    from docker.errors import DockerException
    from requests import RequestException

    _knock()
    try:
        client = docker.from_env(timeout=seconds)
    except (DockerException, RequestException):
        raise _no_engine() from None
    try:
        yield client
    except (DockerException, RequestException) as error:
        raise _refused(error) from None
    finally:
        client.close()


def ensure_image(client: DockerClient, image: str, say: Callable[[str], None]) -> None:
    """Downloads an image, if the engine doesn't have it.

    Raises:
        EngineError: it can't be had (``image_pull``).
    """
    from docker.errors import APIError, ImageNotFound

    try:
        client.images.get(image)
    except ImageNotFound:
        say(f"Downloading {image}.")
        try:
            _pull(client, image, say)
        except APIError as error:
            raise _not_pulled(image, str(error.explanation or error)) from None


def _pull(client: DockerClient, image: str, say: Callable[[str], None]) -> None:
    parts: dict[str, tuple[int, int]] = {}  # bytes of each layer that are here, and all
    told = time.monotonic()
    repository, _, tag = image.rpartition(":")
    for step in client.api.pull(repository, tag=tag, stream=True, decode=True):
        if "error" in step:
            raise _not_pulled(image, step["error"])
        detail = step.get("progressDetail") or {}
        if step.get("status") == "Downloading" and "total" in detail:
            parts[step["id"]] = (detail["current"], detail["total"])
        if parts and time.monotonic() - told > _TELL_SECONDS:
            here, whole = (sum(sizes) >> 20 for sizes in zip(*parts.values(), strict=True))
            say(f"{here} of {whole} MB are here.")
            told = time.monotonic()


def _not_pulled(image: str, why: str) -> EngineError:
    return EngineError(
        f"The image {image} can't be downloaded ({_short(why)}): check the connection, or load it with `docker load`.", code="image_pull"
    )


def _knock() -> None:
    """Whether the engine's socket lets this user in. The library can't tell why not, and leaves a socket open."""
    address = os.environ.get("DOCKER_HOST") or _SOCKET
    if not address.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except PermissionError:
            raise EngineError(
                "The Docker engine does not let this user in: add the user to the group docker and log in again, or run as root.",
                code="docker_denied",
            ) from None
        except OSError:
            raise _no_engine() from None


def _no_engine() -> EngineError:
    return EngineError("There is no Docker engine: start Docker, or set DOCKER_HOST to where it is.", code="no_docker")


def _refused(error: Any) -> EngineError:
    why = str(getattr(error, "explanation", None) or error)
    if "port is already allocated" in why or "address already in use" in why:
        return EngineError("A port of the cluster is taken by another program: end that one, then run this again.", code="port_taken")
    if not hasattr(error, "explanation") and "Connection" in why:
        return _no_engine()
    return EngineError(f"The Docker engine refused: {_short(why)}.", code="docker")


def _short(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:300]
