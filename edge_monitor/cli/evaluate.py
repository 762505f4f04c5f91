"""`edge-monitor evaluate`: measures on recordings whose truth is known; detection, when no subcommand is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from edge_monitor.cli.evaluate_captions import command as captions
from edge_monitor.cli.evaluate_detection import command as detection

if TYPE_CHECKING:
    from collections.abc import Sequence


class _DefaultGroup(click.Group):
    """`evaluate DATASET …` is `evaluate detection DATASET …`, in its help and for the shell too."""

    default = "detection"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "DATASET [OPTIONS]")
        formatter.write_usage(ctx.command_path, "captions DATASET [OPTIONS]")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        detection.format_help_text(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        detection.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found: Sequence[CompletionItem] = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            return detection.shell_complete(ctx, incomplete)
        return [*found, CompletionItem(incomplete, type="dir")]


@click.group("evaluate", cls=_DefaultGroup)
def command() -> None:
    """Measure on recordings whose truth is known."""


command.add_command(detection)
command.add_command(captions)
