"""`python -m magister` does what `magister` does."""

from magister.cli.main import main

main()
