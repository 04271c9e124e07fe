"""The services of the mesh by name, and where their generated code lies."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message


SERVICES = ("ingest", "analysis", "fingerprint", "mastering", "generation")


def full_name(service: str) -> str:
    """The name under which health and reflection know a service."""
    return f"chorale.{service}.v1.{service.capitalize()}Service"


def messages(service: str) -> ModuleType:
    """The module with the messages of a service's own calls."""
    return importlib.import_module(f"chorale.{service}.v1.{service}_service_pb2")


def stub_class(service: str) -> type:
    """The generated stub of a service. Imported on first use: start-up stays short."""
    module = importlib.import_module(f"chorale.{service}.v1.{service}_service_pb2_grpc")
    stub: type = getattr(module, f"{service.capitalize()}ServiceStub")
    return stub


def of_method(method: str) -> str:
    """The service that serves `/chorale.<service>.v1.X/Y`, or `chorale.<service>.v1.X/Y`."""
    parts = method.lstrip("/").split(".")
    known = parts[1] if len(parts) > 1 and parts[0] == "chorale" else ""
    return known if known in SERVICES else ""


def request_class(service: str, method: str) -> "type[Message]":
    """The request message of a service's method, wherever the contract keeps it."""
    from google.protobuf import message_factory

    described = messages(service).DESCRIPTOR.services_by_name[f"{service.capitalize()}Service"]
    return message_factory.GetMessageClass(described.methods_by_name[method].input_type)
