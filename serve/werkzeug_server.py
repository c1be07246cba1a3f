"""The application where there is no Gunicorn (Windows): one process, a thread per request, no drain."""

from __future__ import annotations

import logging
import signal
import socket
from threading import Thread

from werkzeug.serving import BaseWSGIServer, make_server

from serve.app import create_app
from serve.config import ServerConfig
from serve.listener import BACKLOG, url

_log = logging.getLogger("serve")


def make(config: ServerConfig, listener: socket.socket) -> BaseWSGIServer:
    """Compile the models, then let the socket listen. Raises what `create_app` raises."""
    app = create_app(config)
    host, port = listener.getsockname()[:2]
    server = make_server(host, port, app, threaded=True, fd=listener.fileno())
    listener.listen(BACKLOG)
    return server


def run(config: ServerConfig, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    _log.warning("Gunicorn does not run here: requests in flight are cut when the server stops.")
    server = make(config, listener)
    # `shutdown` waits for the loop that this signal interrupts, so another thread has to call it.
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
    _log.info("running on %s", url(listener, config.host))
    server.serve_forever()
