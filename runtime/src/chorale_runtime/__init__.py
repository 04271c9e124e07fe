"""Being a server of the Chorale mesh. Knows no audio: imports neither numpy nor torch."""

import os

# Read when gRPC is first imported. Its older poller takes a quarter to a third less CPU for a
# chunk of sound than its event engine (`python -m bench runtime_streams`).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")
# Worker processes are spawned; gRPC's care for forked ones can only do harm.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
