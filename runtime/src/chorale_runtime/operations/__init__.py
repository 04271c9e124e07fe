"""Long work: accepted once, run until it ends, told while it runs.

MASTER = Work("chorale.mastering.v1.MasteringService/Master", MasterRequest,
              MasterResponse, run=master, queue="mastering.cpu")

async with Operations.open(database, [MASTER], ERRORS, "mastering.chorale",
                           processes=processes) as operations:
    operation = await operations.start(MASTER, request, request.request_id)

async def master(job: Job[MasterRequest]) -> MasterResponse:
    await job.progress("reading", 0.1)
    result = await job.run(music.master, signal)
"""

from chorale_runtime.operations.done import done
from chorale_runtime.operations.errors import (
    ERRORS,
    OperationAbandoned,
    OperationCancelled,
    OperationNotFound,
    RequestIdReused,
)
from chorale_runtime.operations.operations import Operations
from chorale_runtime.operations.queues import Queues
from chorale_runtime.operations.transitions import Policy
from chorale_runtime.operations.work import Job, Work

__all__ = [
    "ERRORS",
    "Job",
    "OperationAbandoned",
    "OperationCancelled",
    "OperationNotFound",
    "Operations",
    "Policy",
    "Queues",
    "RequestIdReused",
    "Work",
    "done",
]
