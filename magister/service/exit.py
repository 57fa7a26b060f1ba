"""The words and the exit code for an error that ends a command."""

import logging
import os
import sys
import traceback

import click

from magister.errors import MagisterError, Unusable

UNEXPECTED = 1
UNUSABLE = 2

LEVEL_VARIABLE = "MAGISTER_LOG"


def complain(error: Exception) -> int:
    """Say on stderr what is wrong, one line for each thing, and return the exit code."""
    lines = str(error).splitlines() if isinstance(error, MagisterError) else [_unexpected(error)]
    for line in lines:
        click.echo(f"magister: {line}", err=True)
    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    return UNUSABLE if isinstance(error, Unusable) else UNEXPECTED


def debugging() -> bool:
    """Say whether tracebacks and the lines of libraries are wanted, by the log or before there is one."""
    asked = os.environ.get(LEVEL_VARIABLE, "").strip().strip("\"'").lower()
    return asked == "debug" or logging.getLogger().level == logging.DEBUG


def _unexpected(error: Exception) -> str:
    said = " ".join(str(error).split())
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    hint = "" if debugging() else f"; set {LEVEL_VARIABLE}=debug for the traceback"
    return f"unexpected: {named}{hint}"
