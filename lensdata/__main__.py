"""`python -m lensdata` is the command lensdata."""

from lensdata.cli import main

main()
