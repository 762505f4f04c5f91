"""`edge-monitor completion`: the script that makes a shell complete edge-monitor's commands."""

from __future__ import annotations

import click


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    bash: edge-monitor completion bash > /etc/bash_completion.d/edge-monitor
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # cannot be: the choices above are click's own
        raise click.UsageError(f"no completion for {shell}")
    root = context.find_root()
    click.echo(kind(root.command, {}, "edge-monitor", "_EDGE_MONITOR_COMPLETE").source())
