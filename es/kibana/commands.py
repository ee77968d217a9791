"""The commands that bring Facedex into Kibana, and draw its dashboard without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from core.command_line import App
from core.errors import StorageError, UsageError
from core.files import check_writable
from core.settings import settings
from core.terminal import Json, print_json, say, show

app = App()
kibana = App(no_args_is_help=True, help="Look into collections with Kibana.\n\nExample: facedex kibana install")
app.add_typer(kibana, name="kibana")


@kibana.command()
def install(
    kibana_url: Annotated[
        str | None, typer.Option(help="Where Kibana is, for KIBANA_URL (default: http://127.0.0.1:5601).", metavar="URL")
    ] = None,
    space: Annotated[str | None, typer.Option(help="Kibana's space.", metavar="ID")] = None,
    json: Json = False,
) -> None:
    """Bring data views, saved searches and a dashboard into Kibana. What an earlier version brought is replaced.

    The credentials and certificates are those of Elasticsearch.

    Example: facedex kibana install --kibana-url https://kibana.example.org:5601 --space people
    """
    from es.kibana.install import install as bring

    done = bring(settings(), kibana_url, space)
    if json:
        print_json({"objects": done.objects, "dashboard": done.dashboard})
    else:
        show(f"Kibana has {done.objects} objects of Facedex. The dashboard: {done.dashboard}")


@kibana.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write it.", metavar="FILE.ndjson", show_default=False)],
    json: Json = False,
) -> None:
    """Write the same as a file, to be imported by hand: in Kibana, Stack Management, Saved Objects, Import.

    Example: facedex kibana export facedex.ndjson
    """
    from es.kibana.saved_objects import ndjson

    text = ndjson()
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError.of(error, f"write {file}", "Choose another file.") from None
    objects = text.count("\n")
    if json:
        print_json({"file": str(file), "objects": objects})
    else:
        show(f"Wrote {objects} objects to {file}.")


@kibana.command()
def preview(
    file: Annotated[Path, typer.Argument(help="Where to draw it.", metavar="FILE.png", show_default=False)],
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Of how many days, up to now.", metavar="NUMBER")] = 30,
    dark: Annotated[bool, typer.Option("--dark", help="On a dark ground.")] = False,
    json: Json = False,
) -> None:
    """Draw the dashboard's panels as one picture, without Kibana. Needs pip install 'facedex[dashboard]'.

    Example: facedex kibana preview dashboard.png --days 90
    """
    from es import client as connection
    from es.kibana.render import write

    if file.suffix.lower() != ".png":
        raise UsageError(f"{file} can't be drawn: give a .png file.")
    check_writable(file, "FILE.png")
    now = datetime.now(UTC)
    with connection.connect(settings(), say) as client:
        write(client, file, now - timedelta(days=days), now, dark=dark)
    if json:
        print_json({"file": str(file)})
    else:
        show(f"The picture: {file}")
