"""Alembic's environment: runs the migrations on the connection that `Database.upgrade` hands in."""

from alembic import context

from ml_backend.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
