"""`chorale`: the group, which loads a subcommand only when it is called."""

import importlib
import json
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from chorale_client.command.exits import epilog, status_of
from chorale_client.command.session import Session

# name -> (module, what `chorale --help` says). The help is here so that listing loads nothing.
COMMANDS = {
    "put": ("put", "Store files in the mesh."),
    "get": ("get", "Write audio to a file, byte for byte as it came."),
    "cut": ("cut", "Make new audio of a stretch of audio, to the sample."),
    "preview": ("preview", "Write at most 15 s of audio to a file, faded."),
    "ls": ("ls", "List your audio, newest first."),
    "info": ("info", "Show what is known of an audio."),
    "rm": ("rm", "Delete audio with everything made from it."),
    "analyze": ("analyze", "Find beats, chords, key, form and loudness of a sound."),
    "live": ("live", "Hear beats, chords and key while a sound plays."),
    "enroll": ("enroll", "Enrol recordings, so that they are known again."),
    "identify": ("identify", "Say which recordings a sound holds, and where."),
    "dups": ("dups", "Say what is enrolled twice, or whether a sound is known."),
    "monitor": ("monitor", "Say what plays in long or endless sound, and when."),
    "similar": ("similar", "Find patterns that are alike."),
    "meter": ("meter", "Measure loudness and peaks."),
    "master": ("master", "Master a sound to a loudness, tone and width."),
    "match": ("match", "Master a sound towards a reference."),
    "presets": ("presets", "List settings to begin a master with."),
    "generate": ("generate", "Make one track out of two."),
    "explain": ("explain", "Explain what was made, and what to try next."),
    "train": ("train", "Train a codec or a cascade on your sound."),
    "models": ("models", "List models, show one, or bring one in."),
    "keep": ("keep", "Keep audio past its expiry, or let it expire again."),
    "ops": ("ops", "List, show, follow and cancel long work."),
    "engines": ("engines", "Show who does the work, and under which licence."),
    "usage": ("usage", "Show your tier, its limits and what is used of them."),
    "call": ("call", "Call anything in the contract, JSON in, JSON out."),
    "doctor": ("doctor", "Check everything one trips over, and say what helps."),
    "completion": ("completion", "Print the completion script of a shell."),
}
# What chorale-mesh adds when it is installed.
ELSEWHERE = {
    "up": ("chorale-mesh", "Run the whole mesh on this machine."),
    "down": ("chorale-mesh", "Stop the mesh that runs on this machine."),
    "status": ("chorale-mesh", "Show what runs where, and whether it is well."),
    "demo": ("chorale-mesh", "Make a song and put it through every service."),
}
PLUGINS = "chorale.commands"


class Commands(click.Group):
    """Our own subcommands, and those that other packages register as `chorale.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every name, whether or not what it needs is installed."""
        return [*dict.fromkeys([*ELSEWHERE, *COMMANDS, *_plugins()])]

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Loads one subcommand."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"chorale_client.command.{COMMANDS[cmd_name][0]}")
            command: click.Command = module.command
            return command
        plugins = _plugins()
        if cmd_name in plugins:
            return _load(plugins[cmd_name])
        if cmd_name in ELSEWHERE:
            return _absent(cmd_name)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands without loading those whose help is known."""
        known = {name: text for name, (_, text) in (COMMANDS | ELSEWHERE).items()}
        added = {name: f"(from {point.module})" for name, point in _plugins().items()}
        rows = [(name, (added | known)[name]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the subcommand; what fails becomes a message and an exit status."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(130)
        except Exception as error:
            from chorale_client.errors import ChoraleError

            if isinstance(error, ChoraleError):  # first: a DeadlineError is an OSError too
                tell(ctx, error)
            elif isinstance(error, OSError):
                _tell(ctx, str(error), {"error": type(error).__name__, "message": str(error)})
            else:
                raise
            ctx.exit(status_of(error))


@click.group(
    cls=Commands,
    name="chorale",
    epilog=epilog(),
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": None},
)
@click.option(
    "--endpoint",
    metavar="HOST:PORT",
    help="Where the mesh answers. Default: as told by "
    "CHORALE_ENDPOINT, CHORALE_<SERVICE>_ADDRESS or `chorale up`.",
)
@click.option("--token", metavar="JWT", help="Bearer token. Better: CHORALE_TOKEN_FILE.")
@click.option("--ca-file", metavar="PEM", help="Authorities to believe; turns TLS on.")
@click.option("--timeout", type=float, metavar="SECONDS", help="The most the whole may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
@click.version_option(package_name="chorale-client", prog_name="chorale")
@click.pass_context
def cli(
    ctx: click.Context,
    endpoint: str | None,
    token: str | None,
    ca_file: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Store, read, measure, master, make and recognise music with a Chorale mesh.

    \b
    chorale up                     start a mesh on this machine
    chorale put take.wav           store a file; prints its name, audio/...
    chorale info audio/9f86d081    any unmistakable beginning of the name will do
    """
    ctx.obj = Session(endpoint or "", token, ca_file, timeout, as_json)


def tell(ctx: click.Context, error: Any) -> None:
    """Writes an error of the mesh to stderr: for people, or as one JSON object."""
    facts = {
        "error": type(error).__name__,
        "code": error.code,
        "reason": error.reason,
        "domain": error.domain,
        "message": error.message,
        "metadata": error.metadata,
        "missing": list(error.missing),
        "violations": [vars(fault) for fault in error.violations],
        "retryAfterSeconds": error.retry_after_seconds,
        "traceId": error.trace_id,
        "exitStatus": status_of(error),
    }
    lines = [str(error)]
    if error.missing:
        lines.append(f"missing: {', '.join(error.missing)}")
    if error.remedy and error.remedy not in error.message:
        lines.append(f"what helps: {error.remedy}")
    if error.retry_after_seconds:
        lines.append(f"again after: {error.retry_after_seconds:g} s")
    trace = f"  trace {error.trace_id}" if error.trace_id else ""
    if error.reason:
        lines.append(f"({error.reason} from {error.domain}{trace})")
    _tell(ctx, "\n  ".join(lines), facts)


def _tell(ctx: click.Context, text: str, facts: dict[str, Any]) -> None:
    session = ctx.find_object(Session)
    if session is not None and session.as_json:
        click.echo(json.dumps(facts), err=True)
    else:
        click.echo(f"chorale: {text}", err=True)


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PLUGINS)}


def _load(point: EntryPoint) -> click.Command:
    """A plugin's command; one that says what is wrong when it cannot be loaded."""
    try:
        command: click.Command = point.load()
    except Exception as fault:
        return _failing(point.name, f"{point.value} cannot be loaded: {fault!r}")
    return command


def _absent(name: str) -> click.Command:
    package, text = ELSEWHERE[name]
    return _failing(
        name,
        f"`chorale {name}` comes with {package}, which is not installed here. "
        f"`pip install {package}` brings it.",
        text,
    )


def _failing(name: str, message: str, text: str = "") -> click.Command:
    def fail(**_: Any) -> None:
        raise click.UsageError(message)

    return click.Command(
        name,
        callback=fail,
        help=text or message,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
    )


def main() -> None:
    """The entry point."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its chatter on stderr is not ours
    try:
        cli(prog_name="chorale")
    except KeyboardInterrupt:
        sys.exit(130)
