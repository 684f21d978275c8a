"""`python -m memxfer.cli`: the command line where no console script is on the path."""

from memxfer.cli import main

main()
