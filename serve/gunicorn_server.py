"""The application under Gunicorn: a master that restarts, and one worker whose threads share the models."""

# mypy: disable-error-code="misc"
# Gunicorn has no types, so its classes count as Any, also as bases.

from __future__ import annotations

import logging
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from serve.app import build_app
from serve.config import ServerConfig
from serve.failure import EXPECTED, USAGE_ERROR, tell
from serve.listener import BACKLOG, is_listening, url
from serve.service import Service

_log = logging.getLogger("serve")


def run(config: ServerConfig, listener: socket.socket, *, debug: bool = False) -> None:
    """Serve until a signal: SIGTERM finishes the requests in flight. Leaves by SystemExit.

    The worker compiles the models, for threads that an engine starts would not survive the fork; only then
    does the socket listen.
    """
    Application(config, listener, debug=debug).run()


class Application(BaseApplication):
    """What Gunicorn asks of an application: settings, and the WSGI callable in the worker."""

    def __init__(self, config: ServerConfig, listener: socket.socket, *, debug: bool) -> None:
        self.config = config
        self.listener = listener
        self.debug = debug
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": url(self.listener, self.config.host).removeprefix("http://"),
            "workers": 1,
            "worker_class": "gthread",
            "threads": self.config.threads,
            "timeout": 120,
            "graceful_timeout": 20,
            "keepalive": 75,
            "loglevel": "warning",
            "control_socket_disable": True,
            "post_worker_init": lambda _: self.listen(),
        }
        if Path("/dev/shm").is_dir():  # noqa: S108 - heartbeats in memory never wait for a disk
            settings["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        service = Service(self.config)
        try:
            service.load()
        except EXPECTED as error:
            tell(error, debug=self.debug)
            sys.exit(Arbiter.APP_LOAD_ERROR)
        except Exception:
            traceback.print_exc()
            sys.exit(Arbiter.APP_LOAD_ERROR)
        return build_app(service)

    def listen(self) -> None:
        self.listener.listen(BACKLOG)
        _log.info("running on %s", url(self.listener, self.config.host))

    def run(self) -> None:
        master = Master(self)
        master.LISTENERS = [self.listener]
        # Before the socket listens and after it is closed, all that can go wrong is said by `load`, once.
        master.log.error_log.addFilter(lambda _: is_listening(self.listener))
        master.run()


class Master(Arbiter):
    """Gunicorn's master, which ends as a usage error when the models cannot be loaded."""

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        failed = exit_status == self.APP_LOAD_ERROR
        super().halt(None if failed else reason, USAGE_ERROR if failed else exit_status)
