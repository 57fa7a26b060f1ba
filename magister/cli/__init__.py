"""The commands that a person types: their options and what they print.

Each is short and calls `cli.commands`. Begin with `main`.
"""
