"""`python -m lensmodel` is the command `lensmodel` (torchrun needs a module)."""

from lensmodel.cli import main

main()
