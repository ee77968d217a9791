"""How photos are looked at, as the options of every command that does."""

from __future__ import annotations

from typing import Annotated

import typer

MinFace = Annotated[int, typer.Option(min=20, max=4000, help="Width in pixels from which faces are looked for.", metavar="PIXELS")]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", min=0, max=512, help="Worker processes; 0: this process itself (default: one a core).", metavar="NUMBER"),
]
