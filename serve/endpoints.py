"""From the configured endpoints to names and paths: which model answers where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from serve.config import EndpointConfig, ServerConfig

MODELS = "/v2/models/"
PREDICT = "/predict"
# Where SageMaker sends requests; the model is the first one, or that of a header.
INVOCATIONS = "/invocations"
# The predecessor had paths of their own for images as files; here they take what the plain ones take.
FROM_FILES = "/from_files"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint and every path that leads to it, the one to prefer first.

    Below a base lie its description (the base itself), `/ready` and `/infer`; the other paths take requests
    themselves.
    """

    name: str
    config: EndpointConfig
    bases: tuple[str, ...]
    predict: tuple[str, ...]

    @property
    def infer_paths(self) -> tuple[str, ...]:
        return (*(f"{base}/infer" for base in self.bases), *self.predict)


def plan_endpoints(config: ServerConfig) -> tuple[Endpoint, ...]:
    """Names and paths of all endpoints.

    An endpoint without a name is called as its task, in the spelling with underscores; where several have the
    same task, `-0`, `-1` follow. Other spellings lead to it as long as no other endpoint may be meant. A path
    that two could have goes to a name first, then to a route, then to the earlier endpoint.
    """
    endpoints = config.endpoints
    words = [_words(endpoints, index) for index in range(len(endpoints))]
    claims = Counter(word for own in words for word in own)
    names = [
        endpoint.name or next((word for word in own if claims[word] == 1), own[-1])
        for endpoint, own in zip(endpoints, words, strict=True)
    ]
    bases = [
        _once([MODELS + name, *(MODELS + word for word in own if claims[word] == 1), *_own_base(endpoint)])
        for endpoint, own, name in zip(endpoints, words, names, strict=True)
    ]
    predict = [_predict_paths(endpoints, index) for index in range(len(endpoints))]
    if config.integration == "sagemaker":
        predict = [_with_invocations(own, paths) for own, paths in zip(bases, predict, strict=True)]

    owners = {MODELS + name: index for index, name in enumerate(names)}
    for index, endpoint in enumerate(endpoints):
        if endpoint.route is not None:
            owners.setdefault(endpoint.route, index)
    for index in range(len(endpoints)):
        for path in (*bases[index], *predict[index]):
            owners.setdefault(path, index)
    return tuple(
        Endpoint(
            names[index],
            endpoint,
            tuple(path for path in bases[index] if owners[path] == index),
            tuple(path for path in predict[index] if owners[path] == index),
        )
        for index, endpoint in enumerate(endpoints)
    )


def _words(endpoints: list[EndpointConfig], index: int) -> list[str]:
    """What an endpoint may be called, the best first."""
    endpoint = endpoints[index]
    if endpoint.name is not None:
        return _spellings(endpoint.name)
    task = _spelling(endpoint.task)
    nameless = [other for other in endpoints[:index] if other.name is None and _spelling(other.task) == task]
    given = {other.name for other in endpoints}
    words = [*_spellings(task), *_spellings(task, f"-{len(nameless)}")]
    return [word for word in words if word not in given] or words[-1:]


def _own_base(endpoint: EndpointConfig) -> list[str]:
    return [] if endpoint.route is None else [MODELS + endpoint.route.lstrip("/")]


def _predict_paths(endpoints: list[EndpointConfig], index: int) -> tuple[str, ...]:
    route = endpoints[index].route
    first = next((i for i, endpoint in enumerate(endpoints) if endpoint.route is None), None)
    plain = [PREDICT] if len(endpoints) == 1 or index == first else []
    own = [] if route is None else [route, f"{route}/infer"]
    return _once([*plain, *own])


def _with_invocations(bases: tuple[str, ...], predict: tuple[str, ...]) -> tuple[str, ...]:
    first = (INVOCATIONS,) if PREDICT in predict else ()
    return (*predict, *first, *(f"{INVOCATIONS}/{base.removeprefix(MODELS)}/infer" for base in bases))


def _spellings(word: str, ending: str = "") -> list[str]:
    return list(_once([word + ending, word.replace("-", "_") + ending, word.replace("_", "-") + ending]))


def _spelling(task: str) -> str:
    return "_".join(task.lower().replace("-", " ").replace("_", " ").split())


def _once(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
