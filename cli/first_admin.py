"""The first administrator: made on the machine itself, since nobody can sign in before."""

from cardflow.db.register_identity import create_first_admin
from cardflow.db.tables import Person
from cardflow.decisions import utc_now
from cardflow.settings import Settings
from cardflow.sql import create_engine, sessions_of, transaction


async def make_first_admin(settings: Settings, login: str, name: str, password: str) -> Person:
    """Leave the installation's first administrator; refused where people are registered."""
    engine = create_engine(settings.database_url)
    try:
        async with transaction(sessions_of(engine)) as session:
            return await create_first_admin(
                session, login=login, name=name, password=password, now=utc_now()
            )
    finally:
        await engine.dispose()
