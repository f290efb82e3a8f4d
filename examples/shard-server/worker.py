"""A worker of `npm run shard-server` in Python, with the standard library alone: the Sharder calls it.

It takes a lease and renews it, opens a room on POST /sm/admin/add-shard, and closes one on
/sm/admin/drop-shard, if the Sharder has signed the call. One that cannot renew its lease closes all by its
own clock.
"""

import http.client
import http.server
import json
import os
import pathlib
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from call_verifier import CallVerifier

KIND = "room"
TTL = 3  # seconds
MARGIN = 0.1  # of the lease is left unused: for what stops only after it was told
HOLDER = str(uuid.uuid4())  # another one for every process
NAME = f"python-{os.getpid()}"

# A clock that does not stand while the machine sleeps.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def say(what):
    print(f"{NAME} {what}", flush=True)


class Rooms:
    """The rooms that are open here, each with its epoch."""

    def __init__(self):
        self.lock = threading.Lock()
        self.open = {}
        self.seen = {}  # the epoch with which each was told last
        self.held_until = 0

    def held(self):
        return time.clock_gettime(CLOCK) < self.held_until

    def add(self, room, spec, epoch):
        """Returns the status of the answer."""
        with self.lock:
            if not self.held():
                return 503  # it is told again
            if self.open.get(room) == epoch:
                return 204  # the same once more, for the first answer was lost
            if epoch <= self.seen.get(room, -1):
                return 409  # it comes late: somebody else may have the room by now
            if room in self.open:
                self.close(room)
            say(f"opens {room}, about {spec['topic']}, with epoch {epoch}")
            self.open[room] = self.seen[room] = epoch
            return 204

    def drop(self, room, epoch):
        with self.lock:
            if room in self.open and self.open[room] <= epoch:
                self.close(room)
            self.seen[room] = max(epoch, self.seen.get(room, -1))
            return 204  # also where it has no such room

    def hold(self, until, is_new):
        """Returns whether all is still open that was: a lease that was over must be taken anew."""
        with self.lock:
            if not is_new and not self.held():
                return False
            self.held_until = until
            return True

    def close_all(self, is_lost=False):
        """Closes all if the lease is over."""
        with self.lock:
            if is_lost:
                self.held_until = 0
            if not self.held():
                for room in list(self.open):
                    self.close(room)

    def close(self, room):
        say(f"closes {room}")
        del self.open[room]


class Calls(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(int(length)) if length.isascii() and length.isdigit() else b""
        why = calls.refusal("POST", self.path, self.headers, body)
        if why is not None:
            return self.answer(401, why)  # not from the Sharder, or for a worker that was here before
        told = json.loads(body)
        if self.path == "/sm/admin/add-shard":
            status = rooms.add(told["id"], told["spec"], told["epoch"])
        elif self.path == "/sm/admin/drop-shard":
            status = rooms.drop(told["id"], told["epoch"])
        else:
            status = 404
        self.answer(status)

    def answer(self, status, why=""):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(why.encode())

    def log_message(self, *_):
        pass


def ask(method, query="", **body):
    """Asks the Sharder about the lease."""
    request = urllib.request.Request(
        f"{service['url']}/v1/kinds/{KIND}/leases/{NAME}{query}",
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={"Authorization": f"Bearer {service['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TTL / 3) as answer:
        return json.load(answer)


def keep_lease():
    """Takes the lease and renews it until the process is asked to end; then gives it back."""
    epoch = None
    while not stopping.is_set():
        claim = {"holder": HOLDER, "ttl": TTL, "url": url, "calls": True}
        if epoch is not None:
            claim = {"holder": HOLDER, "ttl": TTL, "epoch": epoch}
        sent = time.clock_gettime(CLOCK)  # the Sharder counts from later on
        try:
            lease = ask("PUT", **claim)
            if "secret" in lease:  # with a new lease, and never again
                calls.lease(lease["epoch"], lease["secret"])
            wait = lease["renew_in"]
            is_held = rooms.hold(sent + TTL * (1 - MARGIN), is_new=epoch is None)
            epoch = lease["epoch"] if is_held else None  # with a new one it is told of all anew
        except (OSError, http.client.HTTPException, ValueError) as why:  # refused, or no answer
            say(f"could not renew its lease: {why}")
            wait = TTL / 10
            if isinstance(why, urllib.error.HTTPError) and why.code == 409:
                rooms.close_all(is_lost=True)
                epoch = None
        stopping.wait(wait)
    rooms.close_all(is_lost=True)
    if epoch is not None:
        try:
            ask("DELETE", "?" + urllib.parse.urlencode({"holder": HOLDER, "epoch": epoch}))
        except OSError as why:  # it ends by itself
            say(f"could not give its lease back: {why}")


def watch_clock():
    while True:
        time.sleep(0.05)
        rooms.close_all()


service = json.loads((pathlib.Path(sys.argv[1]) / "service.json").read_text())
rooms = Rooms()
calls = CallVerifier()
stopping = threading.Event()
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda *_: stopping.set())
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Calls)
url = f"http://127.0.0.1:{server.server_port}"
for each in (server.serve_forever, watch_clock):
    threading.Thread(target=each, daemon=True).start()
keep_lease()
