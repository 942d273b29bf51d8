"""What goes between a test process and its server of processes: a task with three open files, and one integer back."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, dataclass

__all__ = ["Task", "receive", "receive_number", "send", "send_number"]

_NUMBER = struct.Struct("!q")


@dataclass(frozen=True)
class Task:
    """What a process is to do.

    Attributes:
        words: Those behind ``python``: ``-m module ...``, ``-c code ...`` or ``script ...``.
        folder: Where it works.
        environment: All of its environment.
    """

    words: list[str]
    folder: str
    environment: dict[str, str]


def send(connection: socket.socket, task: Task, files: list[int]) -> None:
    """Sends a task with open files."""
    payload = json.dumps(asdict(task)).encode()
    socket.send_fds(connection, [_NUMBER.pack(len(payload))], files)
    connection.sendall(payload)


def receive(connection: socket.socket, count: int) -> tuple[Task, list[int]] | None:
    """A task with its files; ``None`` when there will be none any more."""
    head, files, _, _ = socket.recv_fds(connection, _NUMBER.size, count)
    if not head:
        return None
    payload = _exactly(connection, _NUMBER.unpack(head)[0])
    return Task(**json.loads(payload)), files


def send_number(connection: socket.socket, number: int) -> None:
    """Sends a process's id or its exit code."""
    connection.sendall(_NUMBER.pack(number))


def receive_number(connection: socket.socket) -> int:
    """What `send_number` sent.

    Raises:
        EOFError: If the other side is gone.
    """
    return int(_NUMBER.unpack(_exactly(connection, _NUMBER.size))[0])


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError("the other side has closed the connection")
        found += more
    return found
