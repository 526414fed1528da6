"""How Alembic reaches the database."""

from alembic import context

from include.ratchet.registry.database import engine_of, metadata

with engine_of(context.config.attributes["url"]).connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, version_table="ratchet_schema")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
