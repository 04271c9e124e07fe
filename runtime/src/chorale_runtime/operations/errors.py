"""What can go wrong with an operation as such, whatever its work is."""

from chorale_runtime.errors import RUNTIME_ERRORS, ErrorTable
from chorale_runtime.pages import PageTokenInvalid


class OperationNotFound(Exception):
    """No such operation, or not the caller's."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return f"There is no operation {self.operation!r}, or it is not yours."


class OperationCancelled(Exception):
    """The operation was cancelled, by its owner or by deleting its audio."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return "The operation was cancelled."


class OperationAbandoned(Exception):
    """The operation lost its worker more often than its retry policy allows."""

    def __init__(self, operation: str, attempts: int) -> None:
        super().__init__(operation, attempts)
        self.operation, self.attempts = operation, attempts

    def __str__(self) -> str:
        return f"The operation lost its worker in each of {self.attempts} attempts."


class RequestIdReused(Exception):
    """The `request_id` was used before for a different request."""

    def __init__(self, request_id: str, operation: str) -> None:
        super().__init__(request_id, operation)
        self.request_id, self.operation = request_id, operation

    def __str__(self) -> str:
        return (
            f"The request_id {self.request_id!r} was used for {self.operation}, whose request"
            " was a different one; draw a new UUID."
        )


# The runtime's table tells these already; here for a service that states all it can answer.
ERRORS: ErrorTable = {
    kind: RUNTIME_ERRORS[kind]
    for kind in (
        OperationNotFound,
        OperationCancelled,
        OperationAbandoned,
        RequestIdReused,
        PageTokenInvalid,
    )
}
