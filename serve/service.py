"""The models of a server: compiled once, called by any number of threads."""

from __future__ import annotations

from pipelines import Pipeline
from serve.config import ServerConfig
from serve.endpoints import Endpoint, plan_endpoints


class NotReadyError(Exception):
    """The models are still being compiled, or the server is stopping."""


class Service:
    """Endpoints and, after `load`, their pipelines."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.endpoints = plan_endpoints(config)
        self.ready = False
        self._pipelines: dict[str, Pipeline] = {}

    def load(self) -> None:
        """Compile every endpoint's model. Raises what `Pipeline.create` raises."""
        for endpoint in self.endpoints:
            self._pipelines[endpoint.name] = self._create(endpoint)
        self.ready = True

    def pipeline(self, endpoint: Endpoint) -> Pipeline:
        """The pipeline of an endpoint. Raises NotReadyError before `load` is through."""
        if not self.ready:
            raise NotReadyError
        return self._pipelines[endpoint.name]

    def _create(self, endpoint: Endpoint) -> Pipeline:
        config = endpoint.config
        shared = {
            "batch_size": config.batch_size,
            "scheduler": config.scheduler,
            "num_cores": config.num_cores or self.config.num_cores,
            "num_streams": config.num_streams or self.config.num_workers,
            "alias": endpoint.name,
        }
        # Arguments that the keys of an endpoint name, too, are taken as the more particular ones.
        return Pipeline.create(config.task, config.model, **(shared | config.kwargs))
