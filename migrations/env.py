"""How Alembic reaches the database: the connection is handed over by `carmenta_lab.postgres.migrate`."""

from alembic import context

OPTIONS = {"version_table_schema": "carmenta", "transaction_per_migration": True}

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", **OPTIONS)
    with context.begin_transaction():
        context.execute("CREATE SCHEMA IF NOT EXISTS carmenta")
        context.run_migrations()
else:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
