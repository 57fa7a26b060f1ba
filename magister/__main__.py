"""`python -m magister` does what `magister` does."""

from magister.cli import main

main()
