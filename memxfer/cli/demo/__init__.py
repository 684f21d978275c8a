"""`memxfer demo`: the whole story on one machine, with nothing faked but the vendor's servers."""

from memxfer.cli.demo.tour import run_demo

__all__ = ["run_demo"]
