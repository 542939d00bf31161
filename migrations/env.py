"""Run the migrations, for `fastzero migrate` and for plain `alembic`.

`fastzero_core.schema.migrate` passes its engine as `connection`, the name that other tools use too, and a listener for
applied revisions. Plain `alembic` takes the engine from the settings. Do not run a statement on the connection before
`configure`: Alembic would assume an outer transaction and would not commit.
"""

from typing import Any

from alembic import context

from fastzero_core.schema import drift, migrate
from fastzero_core.todo_app.tables import metadata

options: dict[str, Any] = {
    "target_metadata": metadata,
    "transaction_per_migration": True,
    "compare_type": True,
    "compare_server_default": True,
}

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    attributes = context.config.attributes
    engine = attributes.get("connection") or migrate.engine_from_settings()
    with engine.connect() as connection:
        context.configure(connection=connection, on_version_apply=attributes.get("on_version_apply"), **options)
        drift.compare_defaults_by_text(context.get_context())
        with context.begin_transaction():
            context.run_migrations()
