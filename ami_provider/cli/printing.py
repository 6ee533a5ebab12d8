"""Tables and progress: rich for a terminal, plain lines for a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import click


def is_terminal() -> bool:
    """Whether a person looks at the output."""
    return sys.stdout.isatty()


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> None:
    """A table. `right` names the heads whose columns are numbers, separated by commas."""
    numbers = {name.strip() for name in right.split(",")}
    if is_terminal():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for head in heads:
            table.add_column(head, justify="right" if head in numbers else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    listed = [list(heads), *map(list, rows)]
    widths = [max(len(row[at]) for row in listed) for at in range(len(heads))]
    for row in listed:
        cells = [
            cell.rjust(width) if head in numbers else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values below each other; what is empty is left out."""
    known = {name: value for name, value in facts.items() if value}
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column()
        for name, value in known.items():
            grid.add_row(name, Text(value))
        Console().print(grid)
        return
    width = max(map(len, known), default=0)
    for name, value in known.items():
        lines = value.splitlines() or [""]
        click.echo(f"{name.ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{' ' * width}  {line}")


class Progress(Protocol):
    """How a bake tells its course."""

    def report(self, text: str) -> None: ...
    def announce(self, text: str) -> None: ...


class Lines:
    """For a pipe: a line when a stage begins, and one for what stays."""

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._last = ""

    def report(self, text: str) -> None:
        head = text.partition(" · ")[0]
        if head != self._last:
            self._last = head
            click.echo(text, err=self._err)

    def announce(self, text: str) -> None:
        click.echo(text, err=self._err)


class Bar:
    """For a terminal: one bar over all stages, with the present one's own words beside it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, text: str) -> None:
        from rich.markup import escape

        found = re.match(r"step (\d+) of (\d+): (.*)", text)
        if found:
            done, total = int(found[1]) - 1, int(found[2])
            self._progress.update(
                self._task, completed=done, total=total, description=escape(found[3])
            )
        else:
            self._progress.update(self._task, description=escape(text))

    def announce(self, text: str) -> None:
        from rich.text import Text

        self._progress.console.print(Text(text))


@contextmanager
def open_progress(*, err: bool) -> Iterator[Progress]:
    """A bar for a terminal, lines for a pipe; `err` keeps them out of the output."""
    if is_terminal() and sys.stderr.isatty():
        with Bar() as bar:
            yield bar
    else:
        yield Lines(err=err)
