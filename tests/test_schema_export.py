"""The schema as others read it: diagrams of one screen, DBML, SQL that makes the very same tables, counts."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carmenta_lab.app.summary import helpers, summary
from carmenta_lab.cli import app
from carmenta_lab.errors import UnknownName
from carmenta_lab.postgres import Database, migrate
from carmenta_lab.schema import DOMAINS, metadata
from carmenta_lab.schema.diagram import mermaid, tables_of
from carmenta_lab.schema.export import dbml, sql

CATALOGUE = (Path(__file__).parent / "catalogue.sql").read_text().replace("%", "%%")


@pytest.mark.parametrize("domain", [*DOMAINS, None])
def test_every_table_stands_in_every_format(domain: str | None) -> None:
    drawn, described, made = mermaid(domain), dbml(domain), sql(domain)
    for table in tables_of(domain):
        assert re.search(rf"^    {table.name} \{{$", drawn, re.M)
        assert f"Table {table.fullname} {{" in described
        assert f"CREATE TABLE {table.fullname} (" in made


def test_every_column_key_and_reference_stands_in_dbml() -> None:
    text = dbml()
    for table in metadata.sorted_tables:
        block = text[text.index(f"Table {table.fullname} {{") :].split("\n}")[0]
        for column in table.columns:
            assert re.search(rf"^  {column.name} ", block, re.M), (table.name, column.name)
        for key in table.foreign_key_constraints:
            assert f"Ref {key.name}: {table.fullname}." in text
    assert text.count("{") == text.count("}")
    assert "\\'" in text  # quotes within notes


def test_the_sql_makes_the_tables_that_the_migrations_make(database: Database) -> None:
    with database.owner.connect() as connection:
        migrated = [tuple(row) for row in connection.exec_driver_sql(CATALOGUE)]
    migrate(database.owner, "base")
    with database.owner.begin() as connection:
        for schema in ("search", "lab"):
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for statement in sql().split(";\n\n"):
            connection.exec_driver_sql(statement.rstrip(";\n").replace("%", "%%"))
    with database.owner.connect() as connection:
        assert [tuple(row) for row in connection.exec_driver_sql(CATALOGUE)] == migrated


def test_an_unknown_domain_is_refused_with_the_known_ones() -> None:
    for show in (mermaid, dbml, sql):
        with pytest.raises(UnknownName, match="memory"):
            show("memories")


def test_the_command_prints_what_the_library_makes() -> None:
    for name, show in (("mermaid", mermaid), ("dbml", dbml), ("sql", sql)):
        done = CliRunner().invoke(app, ["schema", "--domain", "memory", "--format", name])
        assert (done.exit_code, done.stdout) == (0, show("memory"))


def test_each_domain_is_counted_with_its_helpers(sample: Database) -> None:
    with sample.owner_session() as session:
        found = {domain.domain: domain for domain in summary(session)}
        assert [domain.domain for domain in summary(session, "memory")] == ["memory"]
    assert list(found) == list(DOMAINS)
    assert sum(len(domain.rows) for domain in found.values()) == len(metadata.tables)
    assert found["conversations"].rows["messages"] == 1275
    assert found["memory"].helpers == ("delete_memory", "facts", "mark_used", "profile", "signal", "tiers")
    assert {"register_user", "assistants"} <= set(found["identity"].helpers)
    assert {"page", "workspaces"} <= set(found["conversations"].helpers)
    assert helpers("lab") == ()
