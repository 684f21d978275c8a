"""The HTTP client that remote providers share, and what its failures mean.

One table for every backend: which failures prove that nothing was sent, which leave a write in
doubt, what a status says, how long to wait. Providers add only what is particular to their backend.
"""

from memxfer.transport.answers import error_for_status, is_duplicate_text, retry_after
from memxfer.transport.blocking import BlockingTransport
from memxfer.transport.bounds import MOST_BYTES, AnswerTooLargeError
from memxfer.transport.client import AnswerLostError, Observer, exchange, open_client
from memxfer.transport.failures import FAILURES, classify, was_sent
from memxfer.transport.proxies import proxy_from_environment
from memxfer.transport.redaction import redact

__all__ = [
    "FAILURES",
    "MOST_BYTES",
    "AnswerLostError",
    "AnswerTooLargeError",
    "BlockingTransport",
    "Observer",
    "classify",
    "error_for_status",
    "exchange",
    "is_duplicate_text",
    "open_client",
    "proxy_from_environment",
    "redact",
    "retry_after",
    "was_sent",
]
