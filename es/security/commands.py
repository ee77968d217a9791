"""The commands about who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.command_line import App
from core.settings import settings
from core.terminal import DONE, INCOMPLETE, Json, number_of, print_json, print_line, say, show, table

app = App()
security = App(
    no_args_is_help=True, help="Who may do what with which collection.\n\nExample: facedex security init --collection staff --keys keys"
)
app.add_typer(security, name="security")

Collections = Annotated[
    list[str] | None, typer.Option("--collection", "-c", help="For this collection only (default: for all).", metavar="NAME")
]


@security.command()
def roles(collection: Collections = None, json: Json = False) -> None:
    """Print the roles as a node's roles.yml takes them; with --json as the role API does. Asks no Elasticsearch.

    Example: facedex security roles --collection staff >> config/roles.yml
    """
    from es.security.file_realm import roles_yml
    from es.security.roles import roles

    made = roles(collection or [])
    if json:
        print_json(made)
    else:
        print_line(roles_yml(made).rstrip())


@security.command()
def init(
    collection: Collections = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="Make an API key for each role, in a file of its own in this folder, which is closed to others.", metavar="DIR"),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long new keys are good.", metavar="DAYS")] = 90,
    json: Json = False,
) -> None:
    """Make the roles, as an administrator of the cluster: for all collections, or for those named. Keys are written, never printed.

    Doing it twice changes nothing: roles are made anew, keys that are good still are kept. A key's file is a .env file for Facedex.

    Example: facedex security init --collection staff --keys keys
    """
    from es import client as connection
    from es.security.setup import init as make

    with connection.connect(settings(), say) as client:
        done = make(client, collection or [], keys=keys, days=days, given=_address())
    if json:
        print_json(done.as_dict())
    else:
        if done.roles:
            show(f"Made the roles {', '.join(done.roles)}: give them to users.")
        for role, file in done.keys.items():
            show(f"A key with the rights of {role}, for {number_of(days, 'day')}: {file}")
        for role, file in done.kept.items():
            show(f"The key with the rights of {role} is good still: {file}")
        if done.missing:
            say(f"facedex: {done.missing}")
    raise typer.Exit(INCOMPLETE if done.missing else DONE)


def _address() -> dict[str, str]:
    """Where the cluster is, as settings for whoever gets a key."""
    from es.client import without_secrets

    config = settings()
    told = {"ELASTICSEARCH_URL": without_secrets(config.url or "")}
    if config.ca_certs is not None:
        told["ELASTICSEARCH_CA_CERTS"] = str(config.ca_certs.absolute())
    if config.ca_fingerprint is not None:
        told["ELASTICSEARCH_CA_FINGERPRINT"] = config.ca_fingerprint
    return told


@security.command()
def whoami(collection: Collections = None, json: Json = False) -> None:
    """Say who you are to Elasticsearch, and which collections you may search, ingest into, and change.

    Example: facedex security whoami
    """
    from es import client as connection
    from es.security.check import rights, user, visible

    with connection.connect(settings(), say) as client:
        who = user(client)
        found = rights(client, *(collection or visible(client))) if who else {}
    if json:
        print_json({"user": who and who.as_dict(), "collections": [{"name": name, "rights": granted} for name, granted in found.items()]})
        return
    if who is None:
        show("This Elasticsearch has no users: whoever reaches it may do everything.")
        return
    show(f"You are {who.name}, with {_listed(who.roles)}.")
    if not found:
        show("There is no collection that you may see.")
        return
    shown = table("collection", *_MAY.values())
    for name, granted in found.items():
        shown.add_row(name, *("yes" if right in granted else "" for right in _MAY))
    show(shown)


_MAY = {"search": "search", "ingest": "ingest", "steward": "change and delete"}


def _listed(roles: tuple[str, ...]) -> str:
    return f"the role{'s' if len(roles) > 1 else ''} {', '.join(roles)}" if roles else "no role"
