"""Our errors become Temporal's here and nowhere else."""

from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from cardflow.errors import CardflowError, Refused
from cardflow.failpoints import effect


class Failures(Interceptor):
    """Makes the worker tell Temporal which failures are final."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Return the interceptor that translates."""
        return _Translation(super().intercept_activity(next))


class _Translation(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            with effect(f"worker.{input.fn.__name__}"):
                return await super().execute_activity(input)
        except CardflowError as error:
            # Finality is said here because Temporal matches type names and knows no inheritance.
            details = error.objections if isinstance(error, Refused) else []
            raise ApplicationError(
                str(error),
                *details,
                type=type(error).__name__,
                non_retryable=not error.retryable,
            ) from error
