"""How Alembic reaches the database: the connection and the branch are handed over by `carmenta_lab.postgres.migrate`."""

from alembic import context

config = context.config
schema = config.attributes["schema"]
options = {"version_table_schema": schema, "transaction_per_migration": True}

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", **options)
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        context.run_migrations()
else:
    context.configure(connection=config.attributes["connection"], **options)
    with context.begin_transaction():
        context.run_migrations()
