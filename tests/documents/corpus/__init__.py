"""Uploads, good and bad, each with its source and with what must become of it."""

from tests.documents.corpus.acting import ACTING
from tests.documents.corpus.bombs import BOMBS
from tests.documents.corpus.kinds import BROKEN, OTHER_KINDS
from tests.documents.corpus.scans import GOOD, OTHER_FORMS

__all__ = ["BOMBS", "CASES", "OTHER_FORMS"]

CASES = [*GOOD, *OTHER_KINDS, *BROKEN, *ACTING, *BOMBS, *OTHER_FORMS]
