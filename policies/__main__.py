"""`python -m policies [--stack NAME] [--write FOLDER]`: the documents of a stack as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import click

from policies.documents import create_documents
from policies.scope import PROJECT, read_scope
from settings import SettingsError

HERE = Path(__file__).parent


@click.command()
@click.option("--stack", default="local", show_default=True, help="Whose settings file is read.")
@click.option("--account", help="Account of the stack, if it is not the repository's.")
@click.option("--project", default=PROJECT, show_default=True, help="The program's project tag.")
@click.option(
    "--write", type=click.Path(file_okay=False, path_type=Path), help="Folder for a file each."
)
def main(stack: str, account: str | None, project: str, write: Path | None) -> None:
    """Print who may do what: who runs pulumi, who previews, the builder, the Batch machines."""
    file = HERE.parent / f"Pulumi.{stack}.yaml"
    if not file.exists():
        raise click.ClickException(f"there is no {file.name}: name a stack that has one")
    try:
        documents = create_documents(read_scope(file, account=account, project=project))
    except SettingsError as error:
        raise click.ClickException(f"{file.name}: {error}") from None
    if write is None:
        click.echo(json.dumps(documents, indent=2))
        return
    write.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (write / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        click.echo(f"{write / name}.json")


if __name__ == "__main__":
    main(prog_name="python -m policies")
