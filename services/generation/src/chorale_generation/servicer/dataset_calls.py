"""The calls about datasets."""

from collections.abc import Mapping

from chorale.generation.v1 import datasets_pb2
from chorale_runtime import caller, pages
from chorale_runtime.calls import Context
from chorale_runtime.operations import Operations, Work, done
from google.longrunning import operations_pb2

from chorale_generation.messages import training as messages
from chorale_generation.servicer.preparing import PREPARE, PrepareWorks
from chorale_generation.store.datasets import Datasets


class DatasetCalls:
    """Part of GenerationService."""

    _operations: Operations
    _works: Mapping[str, Work]
    _datasets: Datasets
    _prepares: PrepareWorks

    async def PrepareDataset(
        self, request: datasets_pb2.PrepareDatasetRequest, _: Context
    ) -> operations_pb2.Operation:
        """Starts making audio ready, once it is known to suffice."""
        asked = await self._prepares.preparing(request)
        if request.validate_only:
            return done(datasets_pb2.PrepareDatasetResponse(estimate=asked.estimate))
        return await self._operations.start(
            self._works[PREPARE],
            request,
            request_id=request.request_id,
            audio=list(request.audio),
        )

    async def ListDatasets(
        self, request: datasets_pb2.ListDatasetsRequest, _: Context
    ) -> datasets_pb2.ListDatasetsResponse:
        """Lists the caller's datasets."""
        owner, count = caller.current().principal, pages.size(request.page_size)
        offset = pages.position(request.page_token, owner, request.text) or 0
        found = await self._datasets.page(owner, request.text, offset, count + 1)
        more = len(found) > count
        return datasets_pb2.ListDatasetsResponse(
            datasets=[messages.dataset(each) for each in found[:count]],
            next_page_token=pages.token(offset + count, owner, request.text) if more else "",
        )

    async def GetDataset(
        self, request: datasets_pb2.GetDatasetRequest, _: Context
    ) -> datasets_pb2.GetDatasetResponse:
        """Reads one dataset."""
        found = await self._datasets.find(caller.current().principal, request.name)
        return datasets_pb2.GetDatasetResponse(dataset=messages.dataset(found))

    async def DeleteDataset(
        self, request: datasets_pb2.DeleteDatasetRequest, _: Context
    ) -> datasets_pb2.DeleteDatasetResponse:
        """Lets go of a dataset and its sound."""
        await self._datasets.delete(caller.current().principal, request.name)
        return datasets_pb2.DeleteDatasetResponse()
