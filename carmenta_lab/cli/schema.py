"""`carmenta-lab schema`: the tables as a diagram, for other tools, or counted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from carmenta_lab.app.summary import Domain


def schema(
    domain: Annotated[str | None, typer.Option(help="One domain, such as memory. When not given: all.")] = None,
    format: Annotated[  # noqa: A002
        Literal["mermaid", "dbml", "sql", "table"],
        typer.Option(
            help="A Mermaid diagram, DBML, SQL, or a table that counts each domain's rows and lists its helpers."
        ),
    ] = "mermaid",
) -> None:
    """Print the schema. Only the format `table` needs the database.

    Example: `carmenta-lab schema --domain memory --format mermaid`
    """
    if format == "table":
        from carmenta_lab.app.summary import summary
        from carmenta_lab.postgres.lab import open_lab

        with open_lab() as lab, lab.owner_session() as session:
            Console().print(_counted(summary(session, domain)))
        return
    from carmenta_lab.schema.diagram import mermaid
    from carmenta_lab.schema.export import dbml, sql

    typer.echo({"mermaid": mermaid, "dbml": dbml, "sql": sql}[format](domain), nl=False)


def _counted(domains: "Sequence[Domain]") -> Table:
    """Domains with the rows of their tables and their helpers."""
    table = Table("domain", "tables: rows", "rows", "helpers", show_lines=True)
    for d in domains:
        each = ", ".join(f"{name} {rows}" for name, rows in d.rows.items())
        shown = f"{len(d.helpers)}: {', '.join(d.helpers)}"
        table.add_row(d.domain, f"{len(d.rows)}: {each}", str(sum(d.rows.values())), shown)
    tables, helpers = sum(len(d.rows) for d in domains), sum(len(d.helpers) for d in domains)
    table.add_row("all", str(tables), str(sum(sum(d.rows.values()) for d in domains)), str(helpers))
    return table
