"""An import contract: every file of a service that is not shell is music, and music is pure."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

# The files of a service that may know the world. Every other file is music.
SHELL = {
    "__main__",
    "settings",
    "app",
    "servicer",
    "messages",
    "worker",
}
# What music must not know.
WORLD = {
    "grpc",
    "google",
    "chorale",
    "chorale_runtime",
    "chorale_client",
    "asyncio",
    "os",
    "logging",
    "psycopg",
    "minio",
}


class MusicContract(Contract):
    """Forbids `WORLD` to every module of `services` outside `SHELL` and their `store` package."""

    services = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """Finds every direct import of the world by music."""
        services: list[str] = list(self.services)  # type: ignore[call-overload]  # a descriptor
        broken = [
            f"{module} imports {imported}"
            for service in services
            for module in sorted(graph.find_descendants(service))
            if not _is_shell(service, module)
            for imported in sorted(graph.find_modules_directly_imported_by(module))
            if imported.split(".")[0] in WORLD
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints one line per import."""
        for line in check.metadata["broken"]:
            output.print_error(line)


def _is_shell(service: str, module: str) -> bool:
    """Shell files, packages named for one (`servicer/`), and the service's store of rows."""
    first = module.removeprefix(f"{service}.").split(".")[0]
    return first in SHELL or first == "store"
