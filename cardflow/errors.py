"""The kinds of expected failure; anything else that is raised is a bug."""


class CardflowError(Exception):
    """An expected failure whose message is a sentence that a person can act on.

    Messages stay in workflow history and logs: they hold no PIN, key, CSR body or personal data.
    """

    retryable = False


class Refused(CardflowError):
    """The answer is no, and asking again in the same way does not change it."""

    def __init__(self, *objections: str) -> None:
        super().__init__("; ".join(objections))
        self.objections = list(objections)


class Unavailable(CardflowError):
    """The world is down; the same question may be asked again later."""

    retryable = True


class Unknown(CardflowError):
    """The effect may or may not have happened: look before acting again."""

    retryable = True
