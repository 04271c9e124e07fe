"""`chorale completion`."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash   chorale completion bash > ~/.local/share/bash-completion/completions/chorale
    zsh    chorale completion zsh > "${fpath[1]}/_chorale"
    fish   chorale completion fish > ~/.config/fish/completions/chorale.fish
    """
    from click.shell_completion import get_completion_class

    from chorale_client.command.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"This click cannot write completion for {shell}.")
    click.echo(kind(cli, {}, "chorale", "_CHORALE_COMPLETE").source())
