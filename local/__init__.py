"""The pipeline without a container engine: `python -m local` runs it, and the tests use its broker."""

from local.node import Node, NodeError, free_port, has_image, install_rabbitmq, rabbitmq_image

__all__ = ["Node", "NodeError", "free_port", "has_image", "install_rabbitmq", "rabbitmq_image"]
