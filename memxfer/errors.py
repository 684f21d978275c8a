"""Everything memxfer raises.

```
MemxferError
|- ConfigError                 a file, a field, a value of the user's
|  |- UnknownConnectionError
|  |- UnknownProviderError
|  |- ProviderNotInstalledError
|  |- DuplicateProviderError
|  |- JobExistsError
|  '- SecretError
|- DecisionRequiredError       consent or a decision is missing (exit code 3)
|- InterruptedRunError         somebody asked to stop before anything was written (exit code 130)
|- LedgerError
|  |- JobNotFoundError
|  |- JobLockedError
|  '- FingerprintMismatchError
'- ProviderError               something a backend said, or failed to say
   |- TransientError           the same call may work later; nothing was stored
   |  |- RateLimitedError
   |  '- UnavailableError
   |     '- NotReadyError
   |- FatalError               no call will work until somebody acts
   |  |- AuthError
   |  '- QuotaExceededError
   |- RecordError              this record, not the others
   |  '- BatchRefusedError     the backend refused a whole batch for some of its documents
   |- AmbiguousError           it may have happened
   |- CursorExpiredError
   '- UnsupportedOperationError
```

The classes say what to do next, not what broke: a caller that handles `TransientError`,
`FatalError`, `RecordError` and `AmbiguousError` has handled every backend.
"""

from __future__ import annotations

from memxfer.waits import bounded_wait

__all__ = [
    "AmbiguousError",
    "AuthError",
    "BatchRefusedError",
    "ConfigError",
    "CursorExpiredError",
    "DecisionRequiredError",
    "DuplicateProviderError",
    "FatalError",
    "FingerprintMismatchError",
    "InterruptedRunError",
    "JobExistsError",
    "JobLockedError",
    "JobNotFoundError",
    "LedgerError",
    "MemxferError",
    "NotReadyError",
    "ProviderError",
    "ProviderNotInstalledError",
    "QuotaExceededError",
    "RateLimitedError",
    "RecordError",
    "SecretError",
    "TransientError",
    "UnavailableError",
    "UnknownConnectionError",
    "UnknownProviderError",
    "UnsupportedOperationError",
]


class MemxferError(Exception):
    """Base of every error memxfer raises on purpose. Its text is meant for the user."""


class ConfigError(MemxferError):
    """A configuration file, field, path or argument is wrong; the message names it and the remedy."""


class UnknownConnectionError(ConfigError):
    """No connection of that name in the configuration."""


class UnknownProviderError(ConfigError):
    """No provider of that name is installed."""


class ProviderNotInstalledError(ConfigError):
    """The provider is known, but its vendor SDK is not installed; the message names the extra."""


class DuplicateProviderError(ConfigError):
    """Two installed distributions claim the same provider name."""


class JobExistsError(ConfigError):
    """A job of that name is there already."""


class SecretError(ConfigError):
    """A secret reference does not resolve. Never carries the secret itself."""


class DecisionRequiredError(MemxferError):
    """A move would lose something that nobody agreed to lose, or needs a decision.

    Attributes:
        remedies: The exact flags or config lines that settle the matter.
        plan: The plan (`memxfer.plan.JobPlan`) that lacks them, where the source was read to make one.
    """

    plan: object = None

    def __init__(self, message: str, *, remedies: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.remedies = remedies


class InterruptedRunError(MemxferError):
    """Somebody asked to stop before anything was written."""


class LedgerError(MemxferError):
    """The job's folder or ledger cannot be used: not writable, full, damaged."""


class JobNotFoundError(LedgerError):
    """No job of that id in the state folder."""


class JobLockedError(LedgerError):
    """Another process is running this job."""


class FingerprintMismatchError(LedgerError):
    """A job was resumed under a plan that would move something else."""


class ProviderError(MemxferError):
    """Something a backend said, or failed to say.

    Attributes:
        provider: Name of the provider, `"synap"`.
        operation: What was being done, `"write"`.
        status: HTTP status, when there was one.
        correlation_id: The backend's id of the request, to quote to its support.
        code: A short stable word for tables and tests, `"duplicate"`, `"too_large"`.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        operation: str = "",
        status: int | None = None,
        correlation_id: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.operation = operation
        self.status = status
        self.correlation_id = correlation_id
        self.code = code


class TransientError(ProviderError):
    """The call failed, nothing was stored, and the same call may work later."""


class RateLimitedError(TransientError):
    """The backend refused the call for now (429).

    Attributes:
        retry_after: Seconds to wait, as the backend asked, at most a day; `None` if it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the keywords of ProviderError, passed on
        self.retry_after = bounded_wait(retry_after)


class UnavailableError(TransientError):
    """The backend could not be reached, or refused before it looked at the call."""


class NotReadyError(UnavailableError):
    """The backend exists but is still being set up.

    Attributes:
        retry_after: Seconds until it expects to be ready, at most a day; `None` if it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the keywords of ProviderError, passed on
        self.retry_after = bounded_wait(retry_after)


class FatalError(ProviderError):
    """No call will work until somebody acts: the job pauses with its place kept."""


class AuthError(FatalError):
    """The key is missing, refused, revoked, or not allowed to do this."""


class QuotaExceededError(FatalError):
    """The account has run out of credits, trial or subscription."""


class RecordError(ProviderError):
    """This record cannot be read or stored; the others can."""


class BatchRefusedError(RecordError):
    """The backend refused a whole batch, and nothing of it was stored, because of some of its documents."""


class AmbiguousError(ProviderError):
    """The call may or may not have happened: time-out, lost answer, 5xx after a write."""


class CursorExpiredError(ProviderError):
    """The backend no longer knows this cursor: the partition is listed again from its start."""


class UnsupportedOperationError(ProviderError):
    """The provider cannot do this; the message names who can, when that is known."""
