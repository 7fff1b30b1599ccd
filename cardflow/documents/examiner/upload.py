"""An upload: whom to trust and one file from standard input, one answer in JSON."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from cardflow.documents.examiner import ANSWER_BYTES, READY, Limits, SignatureSeen, Trust
from cardflow.documents.examiner.confinement import confine, say
from cardflow.documents.examiner.examination import examine
from cardflow.errors import Refused

Look = Callable[[bytes], SignatureSeen | None]


def main(limits: Limits) -> None:
    """Answer ``ready``, then what was found or why the file is refused."""
    trust = _trust(json.loads(sys.stdin.buffer.readline()))
    data = sys.stdin.buffer.read()
    look = _signatures(trust)
    confine(limits, ANSWER_BYTES)
    say(READY)
    say(json.dumps(answered(data, limits, look)).encode())


def _trust(told: dict[str, Any] | None) -> Trust | None:
    return Trust(**told) if told else None


def _signatures(trust: Trust | None) -> Look:
    """Return what looks for a signature; without trust nobody wants to know."""
    if trust is None:
        return lambda _data: None
    from cardflow.documents.examiner.signature import examine_signature

    return lambda data: examine_signature(data, trust)


def answered(data: bytes, limits: Limits, look: Look) -> dict[str, object]:
    """Return what was found in a file, or why there is nothing to be told of it."""
    try:
        return asdict(replace(examine(data, limits), signature=look(data)))
    except Refused as refused:
        return {"refused": refused.objections}
    except OSError as error:
        return {"fault": f"{type(error).__name__}: {error.strerror}"}
    except MemoryError:
        return {"refused": ["the file needs too much memory to be shown; scan it again"]}
    except Exception as error:
        # Parsers meet damage in as many ways as there is damage: all of it is a no.
        return {"failed": type(error).__name__}
