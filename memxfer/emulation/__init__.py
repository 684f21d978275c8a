"""The shared half of the emulators: local stand-ins for hosted backends, for rehearsals and tests.

A provider's emulator subclasses `Emulator` and adds its wire and its store. It gets an admin API
(`/_emulator`), fault injection, rate limits, counters, a state file and a server. Needs the extra
`emulate` (starlette, uvicorn).
"""

from .admin_client import AdminClient
from .emulator import Emulator, Endpoint
from .exchange import Answer, Call, RefusedError
from .faults import FaultAction, FaultMatch, FaultPlan, FaultRule
from .limits import RateLimiter, TokenBucket, retry_after_headers
from .server import RunningServer, run, serve_in_thread
from .settings import EmulatorSettings, RateLimit, RetryAfterStyle
from .state import StateFile
from .tally import RequestTally

__all__ = [
    "AdminClient",
    "Answer",
    "Call",
    "Emulator",
    "EmulatorSettings",
    "Endpoint",
    "FaultAction",
    "FaultMatch",
    "FaultPlan",
    "FaultRule",
    "RateLimit",
    "RateLimiter",
    "RefusedError",
    "RequestTally",
    "RetryAfterStyle",
    "RunningServer",
    "StateFile",
    "TokenBucket",
    "retry_after_headers",
    "run",
    "serve_in_thread",
]
