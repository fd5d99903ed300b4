"""Entries of one kind in their order, without a look at the rest."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Index the trail by kind."""
    op.create_index("audit_kind", "audit", ["kind", "seq"], if_not_exists=True)
