"""What each command does.

No options and no parsing here. One module a command; begin with `status`.
"""
