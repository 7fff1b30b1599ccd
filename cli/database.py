"""`python -m cli.database`: brings the database to the tables that this version needs."""

import asyncio

from cardflow.db.migrate import upgrade_database
from cardflow.settings import Settings, load_settings
from cardflow.sql import create_engine


async def upgrade(settings: Settings) -> None:
    """Leave the database at the newest revision."""
    engine = create_engine(settings.database_url)
    try:
        await upgrade_database(engine)
    finally:
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(upgrade(load_settings()))
