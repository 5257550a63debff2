"""A real mongod and a real redis-server as child processes, for development, demo and tests.

They listen on loopback alone, keep everything in one directory, and never outlive the process
that started them. Nothing here knows Django: settings read `running_urls` before Django exists.
"""

from drservice.embedded.children import RunningService
from drservice.embedded.errors import ServiceError
from drservice.embedded.mongodb_server import start_mongodb
from drservice.embedded.redis_server import start_redis
from drservice.embedded.register import record_running, remembered_port, running_urls

__all__ = [
    "RunningService",
    "ServiceError",
    "record_running",
    "remembered_port",
    "running_urls",
    "start_mongodb",
    "start_redis",
]
