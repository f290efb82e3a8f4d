"""In the place of a notebook server: writes each request that reaches it to $RECORD, a line of JSON each."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse


class Recorder(BaseHTTPRequestHandler):
    def record(self):
        request = {"path": self.path, "headers": self.headers.items()}
        with open(os.environ["RECORD"], "a") as file:
            file.write(json.dumps(request) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = record

    def log_message(self, *args):
        pass


port = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port
ThreadingHTTPServer(("127.0.0.1", port), Recorder).serve_forever()
