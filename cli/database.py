"""`python -m cli.database`: brings the database to the tables that this version needs."""

import asyncio
import sys

from cardflow.db.migrate import upgrade_database
from cardflow.errors import CardflowError
from cardflow.settings import Settings, load_settings
from cardflow.sql import create_engine
from cli.output import say


async def upgrade(settings: Settings) -> None:
    """Leave the database at the newest revision."""
    engine = create_engine(settings.database_url)
    try:
        await upgrade_database(engine)
    finally:
        await engine.dispose()


def main() -> int:
    """Upgrade this installation's database and return the process's exit code."""
    try:
        asyncio.run(upgrade(load_settings()))
    except CardflowError as error:
        say(f"✗ {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
