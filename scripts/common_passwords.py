"""Makes cardflow/leaked_passwords.bin of a list of leaked passwords, the most frequent first.

What is there was made of the first 20,000 that fit our rule of length in the "10 million password
list, top 1M" (SecLists, Passwords/Common-Credentials). Only digests are kept: nobody needs to read
what people once chose.
"""

import sys
from pathlib import Path

from cardflow.passwords import DIGEST_BYTES, LEAKED_FILE, LONGEST, SHORTEST, leaked_digest

MOST = 20_000


def main(source: Path) -> None:
    """Write the digests of the most frequent passwords that fit, in order of their bytes."""
    lines = source.read_text(errors="ignore").splitlines()
    fitting = [line for line in lines if SHORTEST <= len(line) <= LONGEST][:MOST]
    digests = sorted({leaked_digest(line) for line in fitting})
    LEAKED_FILE.write_bytes(b"".join(digests))
    sys.stdout.write(f"{LEAKED_FILE}: {len(digests)} digests of {DIGEST_BYTES} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
