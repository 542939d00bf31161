"""Which ports are free, and whose the others are."""

import os
import socket

import pytest

from fastzero_core.errors import PortTakenError
from fastzero_core.stack import ports

HOST = "127.0.0.1"


def test_a_port_without_a_listener_is_free(free_port: int) -> None:
    assert ports.is_free(HOST, free_port)


def test_a_port_with_a_listener_is_taken(listening: int) -> None:
    assert not ports.is_free(HOST, listening)


def test_a_port_with_a_listener_on_every_address_is_taken(free_port: int) -> None:
    with socket.create_server(("", free_port)):
        assert not ports.is_free(HOST, free_port)


def test_a_port_whose_connections_only_linger_is_free(free_port: int) -> None:
    with socket.create_server((HOST, free_port)) as server:
        client = socket.create_connection((HOST, free_port))
        served, _ = server.accept()
        served.close()  # the side that closes first is the one that lingers
        assert client.recv(1) == b""
        client.close()

    assert ports.is_free(HOST, free_port)


def test_the_next_free_port_is_neither_taken_nor_reserved(listening: int) -> None:
    found = ports.next_free(HOST, listening, {listening + 1})

    assert found > listening + 1


def test_no_free_port_up_to_the_last_one_is_an_error() -> None:
    with pytest.raises(PortTakenError, match="no free port from 65535 on"):
        ports.next_free(HOST, 65535, {65535})


def test_the_owner_of_a_port_is_told_by_name_and_pid(listening: int) -> None:
    assert ports.owner_of(listening).endswith(f"(pid {os.getpid()})")


def test_a_port_that_nobody_has_has_no_owner(free_port: int) -> None:
    assert ports.owner_of(free_port) == ""


def test_the_error_names_port_owner_and_remedy(listening: int) -> None:
    error = ports.taken_error("database", HOST, listening)

    assert f"port {listening}" in error.message
    assert f"(pid {os.getpid()})" in error.message
    assert f"--port {listening + 1}" in error.hint
