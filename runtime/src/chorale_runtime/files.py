"""Files as answers, and what made them."""

from google.api import httpbody_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from chorale_runtime.calls import Context

PROVENANCE_HEADER = "chorale-provenance"
_TRANSCODED = "x-envoy-original-method"  # what the edge adds to a call that came as REST


async def tell_maker(context: Context, body: httpbody_pb2.HttpBody, made_by: Message) -> None:
    """Says what made a file: in the `extensions` of its first message.

    For a call that came as REST it is a header, as JSON: Envoy's transcoder breaks off an answer
    whose `HttpBody` has extensions.
    """
    metadata = context.invocation_metadata() or ()
    if any(name == _TRANSCODED for name, _ in metadata):
        told = json_format.MessageToJson(made_by, indent=None)
        await context.send_initial_metadata(((PROVENANCE_HEADER, told),))
    else:
        body.extensions.add().Pack(made_by)
