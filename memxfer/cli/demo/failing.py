"""What ends a demo early."""

from memxfer.errors import MemxferError

__all__ = ["DemoError"]


class DemoError(MemxferError):
    """A step of the demo did not do what it shows."""
