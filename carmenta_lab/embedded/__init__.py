"""A PostgreSQL server of one's own on this machine, without installation and without a network port."""

from carmenta_lab.embedded.server import Server, destroy, secret, start, status, stop

__all__ = ["Server", "destroy", "secret", "start", "status", "stop"]
