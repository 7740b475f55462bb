"""Messages in Redis, read as what they may be and nothing else: one of our functions, with numbers.

RQ runs whatever function a message names, calls it back with another, and posts results to addresses that stand in it.  Whoever
can write to Redis must not get that far.
"""

from __future__ import annotations

import json
import logging
import zlib
from typing import Any

from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import decode_redis_hash

RUN_JOB = "ml_backend.jobs.run_job.run_job"
PREDICT_NOW = "ml_backend.jobs.run_job.predict_now"
#: What of a message is taken over; callbacks, webhooks and dependencies are not.
_KEPT = ("data", "created_at", "enqueued_at", "origin", "timeout", "result_ttl", "failure_ttl", "ttl", "status")
#: Numbers fit into this in every database; a request names no more frames than that.
_LARGEST_ID, _MOST_FRAMES = 2**63, 20_000
_LARGEST_MESSAGE_BYTES = 1_000_000

log = logging.getLogger("parallax.worker")


class Message(Job):
    """A message of ours; RQ passes over what raises NoSuchJobError here, as over one that is gone."""

    def restore(self, raw_data: dict[Any, Any]) -> Any:
        """Take over what Redis holds."""
        held = decode_redis_hash(raw_data)
        try:
            check_call(read_call(held["data"]))
            return super().restore({name: held[name] for name in _KEPT if name in held})
        except Exception as error:
            log.warning("a message in Redis that is none of ours is left out: %s", str(error)[:200] or type(error).__name__)
            raise NoSuchJobError(f"message {self.id} is none of ours") from error


def read_call(data: bytes) -> Any:
    """What a message calls, as RQ writes it: [function, object, arguments, keywords].  Raises ValueError."""
    opener = zlib.decompressobj()
    try:
        text = opener.decompress(data, _LARGEST_MESSAGE_BYTES)
    except zlib.error:
        text = data
    if len(text) >= _LARGEST_MESSAGE_BYTES:
        raise ValueError("it is too large")
    return json.loads(text)


def check_call(call: Any) -> None:
    """Raise ValueError unless it is one of our two functions with job or frame numbers."""
    name, of, arguments, keywords = call
    if of is not None or keywords or name not in (RUN_JOB, PREDICT_NOW) or len(arguments) != 1:
        raise ValueError(f"it calls {str(name)[:80]!r}")
    (argument,) = arguments
    numbers = [argument] if name == RUN_JOB else argument
    if not isinstance(numbers, list) or len(numbers) > _MOST_FRAMES or not all(map(_is_number, numbers)):
        raise ValueError("its arguments are no numbers")


def _is_number(value: object) -> bool:
    return type(value) is int and 0 < value < _LARGEST_ID
