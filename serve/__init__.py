"""Pipelines over HTTP: `python -m serve --task sentiment-analysis`, or `create_app` for another server."""

from serve.app import build_app, create_app
from serve.config import EndpointConfig, ServerConfig, read_config
from serve.service import Service

__all__ = ["EndpointConfig", "ServerConfig", "Service", "build_app", "create_app", "read_config"]
