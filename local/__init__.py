"""The pipeline without a container engine: `python -m local` runs it, and the tests use its broker."""

from local.broker import Broker, BrokerError, free_port, install_rabbitmq

__all__ = ["Broker", "BrokerError", "free_port", "install_rabbitmq"]
