"""The socket of a server: taken at once, so that a port in use is known early, and heard only when ready."""

from __future__ import annotations

import socket

from engine import OptionError

# Connections that may wait; more would be a queue that nobody sees.
BACKLOG = 128


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet. Raises OptionError when the address cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Head and body of an answer are two writes; Nagle's algorithm would hold the second for 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        message = f"Cannot listen on {host} port {port}: {error.strerror}. Choose another --port or --host."
        raise OptionError(message) from error
    return listener


def url(listener: socket.socket, host: str) -> str:
    """The server's address as a link, with the host as the user wrote it."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_listening(listener: socket.socket) -> bool:
    """Whether connections are taken; true where the system does not tell."""
    if listener.fileno() == -1:
        return False
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return True
