"""The frame around every command: loading, exit codes, and what is shown when something is wrong.

Exit codes: 0 done, 1 the model or the data is wrong, 2 the command line is wrong, 70 a bug in gmc, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import click
from click.shell_completion import shell_complete

from gmc.commands import bugs, errors
from gmc.commands.report import Reporter, silence
from gmc.dsl.diagnostic import GmcError, nearest

BUG, INTERRUPTED, USAGE = 70, 130, 2


class Interrupted(Exception):
    """A Ctrl-C that a command has dealt with; its text is what to tell the user."""


class Command(click.Command):
    """A command with examples at the end of its help, and `--format`."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.append(
            click.Option(
                ["--format", "_format"],
                type=click.Choice(["text", "json"]),
                default="text",
                expose_value=False,
                help="How diagnostics are written to stderr: as text, or each as a line of JSON.",
            )
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, a line each."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


def command(name: str, short: str, examples: Sequence[str]) -> Callable[[Callable[..., Any]], Command]:
    """Makes a command of a function, whose docstring is its help; `short` is its line in the list of commands."""
    settings = {"help_option_names": ["-h", "--help"]}
    return click.command(name, cls=Command, short_help=short, examples=examples, context_settings=settings)


class Commands(click.Group):
    """The commands by name, each loaded when it is asked for, and the one place where exceptions end."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = dict(modules)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of a day's work."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module's `main`."""
        if cmd_name not in self.modules:
            return None
        found = import_module(self.modules[cmd_name]).main
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; UsageError with the nearest one where there is none."""
        name = args[0]
        if name not in self.modules and not name.startswith("-") and not ctx.resilient_parsing:
            guess = nearest(name, self.modules)
            hint = f" Did you mean '{guess}'?" if guess else ""
            if name.endswith(".gm"):
                hint = f" Did you mean '{ctx.command_path} check {name}'?"
            raise click.UsageError(f"No such command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command line and exits with its code; with `standalone_mode=False` gives the code."""
        words = list(sys.argv[1:] if args is None else args) or ["--help"]
        name = prog_name or "gmc"
        self._complete(name, complete_var or "_GMC_COMPLETE")
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # what libraries warn of is no mistake of the user's
        code = self._guarded(words, name, extra)
        try:
            sys.stdout.flush()
        except OSError:
            silence(sys.stdout)
        except (AttributeError, ValueError):  # there is no stdout
            pass
        if standalone_mode:
            sys.exit(code)
        return code

    def _guarded(self, words: list[str], name: str, extra: Mapping[str, Any]) -> int:
        reporter = Reporter(wants_json(words))
        try:
            with self.make_context(name, list(words), obj=reporter, **extra) as context:
                self.invoke(context)
            return 0
        except click.exceptions.Exit as done:
            return done.exit_code
        except click.ClickException as error:
            show_usage(reporter, error)
            return USAGE
        except GmcError as error:
            reporter.show(error.diagnostics)
            return USAGE if error.exit_code == USAGE else errors.exit_code(error.diagnostics)
        except BrokenPipeError:  # the reader has had enough
            silence(sys.stdout)
            return 0
        except Interrupted as stop:
            reporter.say(f"\n{stop}")
            return INTERRUPTED
        except (KeyboardInterrupt, EOFError, click.Abort):
            reporter.say("\ninterrupted")
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001  this is the end of the line
            reason = bugs.memory_reason(error)
            if reason is not None:
                reporter.show([errors.out_of_memory(None, reason)])
                return 1
            bugs.report(reporter, error, [name, *words])
            return BUG

    def _complete(self, name: str, variable: str) -> None:
        """Answers a shell that asks how a word may go on."""
        instruction = os.environ.get(variable)
        if instruction:
            sys.exit(shell_complete(self, {}, name, variable, instruction))


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, even one that is wrong otherwise."""
    options = words[: words.index("--")] if "--" in words else words
    asked = [word for word in options if word.startswith("--format=")]
    asked += [f"{a}={b}" for a, b in pairwise(options) if a == "--format"]
    return "--format=json" in asked


def show_usage(reporter: Reporter, error: click.ClickException) -> None:
    """What is wrong with a command line, and how the command is used."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if reporter.as_json:
        help = f"`{context.command_path} --help` says how it is used" if context else None
        reporter.show([errors.usage(None, error.format_message(), help)])
        return
    if context is not None:
        reporter.say(context.get_usage())
        reporter.say(f"Try '{context.command_path} --help'.\n")
    reporter.say(f"Error: {error.format_message()}")
