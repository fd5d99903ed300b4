"""The first release: tables as `store` makes them."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: a database without a revision is of the first release, or new."""
