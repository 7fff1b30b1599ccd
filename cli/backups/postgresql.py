"""The way back of a PostgreSQL dump; `python -m cli.backups.postgresql ADDRESS DUMP` as well."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from cardflow.errors import Refused
from cli.output import say
from cli.programs import Ran, expect, surroundings

# What belongs to an extension stays: the extension comes back in its place.
EMPTY = """
SET client_min_messages = warning;
DO $$ DECLARE word text; BEGIN
FOR word IN
    WITH ours AS (
        SELECT oid, nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
    lent AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
    SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE relkind
        WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
        ELSE 'TABLE' END, nspname, relname) AS command,
        CASE relkind WHEN 'S' THEN 2 ELSE 1 END AS turn  -- most go with their table
    FROM pg_class c JOIN ours ON ours.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
    AND ('pg_class'::regclass, c.oid) NOT IN (SELECT * FROM lent)
    UNION ALL
    SELECT format('DROP ROUTINE IF EXISTS %I.%I(%s) CASCADE', nspname, proname,
        pg_get_function_identity_arguments(p.oid)), 3
    FROM pg_proc p JOIN ours ON ours.oid = pronamespace
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT * FROM lent)
    UNION ALL
    SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE', nspname, typname), 4
    FROM pg_type t JOIN ours ON ours.oid = typnamespace
    WHERE typtype IN ('e', 'd', 'r')
    AND ('pg_type'::regclass, t.oid) NOT IN (SELECT * FROM lent)
    ORDER BY turn
LOOP EXECUTE word; END LOOP; END $$;
"""


def restore(address: str, dump: Path) -> None:
    """Leave the database as the dump has it, without anything else; all of it, or nothing.

    1. Everything goes: tables that the dump does not know, of a later version, would hold fast
       those that it replaces, and be in the way of the migration that makes them.
    2. pg_restore tells what to do, and psql does it.
    3. It counts when pg_restore has told everything: a text that ends too soon is no error to psql.
    """
    psql = ("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={address}")
    telling = ("pg_restore", "--clean", "--if-exists", "--no-owner", "--file=-", str(dump))
    with TemporaryFile() as said:
        doing = subprocess.Popen(  # noqa: S603 fixed words, and an address from the settings
            psql,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=surroundings(),
        )
        assert doing.stdin is not None  # noqa: S101 it is a pipe
        told = Ran(telling, 1, b"", "nobody listened")
        with doing.stdin as words, suppress(BrokenPipeError):  # psql has ended, and says why
            words.write(f"BEGIN;{EMPTY}".encode())
            told = _told(telling, words.fileno())
            words.write(b"COMMIT;\n" if told.succeeded else b"ROLLBACK;\n")
        code = doing.wait()
        said.seek(0)
        expect(Ran(psql, code, b"", said.read().decode(errors="replace")))
    expect(told)


def _told(telling: tuple[str, ...], to: int) -> Ran:
    ended = subprocess.run(  # noqa: S603 fixed words, and a file of the backup
        telling, stdout=to, stderr=subprocess.PIPE, env=surroundings(), check=False
    )
    return Ran(telling, ended.returncode, b"", ended.stderr.decode(errors="replace"))


def main(address: str, dump: str) -> int:
    """Restore one dump and return the process's exit code."""
    try:
        restore(address, Path(dump))
    except Refused as refused:
        say(f"✗ {refused}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
