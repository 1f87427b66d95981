"""What the services share: the contract, a client for the broker, settings, the dataset and whole files.

A service imports it first of all: loading numpy or pandas takes up to a second, and SIGTERM has to end the service with
exit code 0 during that second as well.
"""

import os
import signal
import threading

if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
