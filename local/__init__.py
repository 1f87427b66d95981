"""The pipeline without a container engine: `python -m local` runs it, and the tests use its broker."""

from local.node import Node, NodeError, free_port, install_rabbitmq

__all__ = ["Node", "NodeError", "free_port", "install_rabbitmq"]
