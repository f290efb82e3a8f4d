"""Verifies that a call to a worker comes from the Sharder, and comes once. The standard library alone.

    calls = CallVerifier()
    calls.lease(answer["epoch"], answer["secret"])  # of the claim that took the lease
    why = calls.refusal("POST", path, headers, body)
    if why is not None:
        ...  # answer 401
"""

import hashlib
import hmac
import re
import threading
import time

WHOLE = re.compile(r"(0|[1-9][0-9]{0,15})", re.ASCII)


def sign(secret, timestamp, epoch, method, path, body):
    """The signature of a call. `body` is bytes, `timestamp` milliseconds since 1970."""
    digest = hashlib.sha256(body).hexdigest()
    text = f"v1\n{timestamp}\n{epoch}\n{method}\n{path}\n{digest}"
    return "v1=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class CallVerifier:
    def __init__(self, window_ms=60_000, now=lambda: int(time.time() * 1000)):
        self.window_ms = window_ms  # how far the two clocks may differ
        self.now = now
        self.held = None
        self.seen = {}  # signatures, each with the time when it is too old anyway
        self.lock = threading.Lock()

    def lease(self, epoch, secret):
        """The lease that is held from now on."""
        self.held = (epoch, secret)

    def refusal(self, method, path, headers, body):
        """Why a call must be refused; None: it is genuine. `headers` has `get`, and knows no case."""
        if self.held is None:
            return "no lease is held"
        own_epoch, secret = self.held
        timestamp, epoch = (headers.get(f"X-Shard-{each}") or "" for each in ("Timestamp", "Epoch"))
        given = headers.get("X-Shard-Signature")
        if not WHOLE.fullmatch(timestamp) or not WHOLE.fullmatch(epoch) or given is None:
            return "the call is not signed"
        if int(epoch) != own_epoch:
            return "the call is for another lease"
        expected = sign(secret, timestamp, epoch, method, path, body)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
            return "the signature is wrong"
        now = self.now()
        if abs(now - int(timestamp)) > self.window_ms:
            return "the call is too old, or the clocks differ"
        with self.lock:
            until = int(timestamp) + self.window_ms
            # In the order in which they came.
            for signature, end in list(self.seen.items()):
                if end >= now:
                    break
                del self.seen[signature]
            if expected in self.seen:
                return "the call is a replay"
            self.seen[expected] = until
        return None
