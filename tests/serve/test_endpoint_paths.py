"""Which paths lead to which endpoint: every spelling while it is clear, none when it is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.config import make_config
from serve.endpoints import Endpoint, plan_endpoints


def _plan(*endpoints: dict[str, Any]) -> tuple[Endpoint, ...]:
    entries = [{"task": "sentiment-analysis", **endpoint} for endpoint in endpoints]
    return plan_endpoints(make_config({"endpoints": entries}, "test"))


def _owner(plan: tuple[Endpoint, ...], path: str) -> int | None:
    owners = [index for index, endpoint in enumerate(plan) if path in endpoint.infer_paths]
    return owners[0] if owners else None


@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "/v2/models/sentiment_analysis/infer",
        "/v2/models/sentiment-analysis/infer",
        "/v2/models/sentiment_analysis-0/infer",
        "/v2/models/sentiment-analysis-0/infer",
    ],
)
@pytest.mark.parametrize("task", ["sentiment-analysis", "sentiment_analysis", "Sentiment Analysis"])
def test_one_endpoint_without_a_name_has_every_path(task: str, path: str) -> None:
    (endpoint,) = _plan({"task": task})
    assert endpoint.name == "sentiment_analysis"
    assert path in endpoint.infer_paths


CASES: list[tuple[list[dict[str, Any]], dict[str, int | None]]] = [
    (
        [{}, {}],
        {
            "/predict": 0,
            "/v2/models/sentiment_analysis/infer": None,
            "/v2/models/sentiment_analysis-0/infer": 0,
            "/v2/models/sentiment-analysis-1/infer": 1,
        },
    ),
    (
        [{"task": "glue"}, {}],
        {"/predict": 0, "/v2/models/glue/infer": 0, "/v2/models/sentiment_analysis/infer": 1},
    ),
    (
        [{"name": "my-model"}],
        {
            "/v2/models/my-model/infer": 0,
            "/v2/models/my_model/infer": 0,
            "/v2/models/sentiment_analysis/infer": None,
        },
    ),
    (
        [{"name": "a-b"}, {"name": "a_b"}],
        {"/v2/models/a-b/infer": 0, "/v2/models/a_b/infer": 1},
    ),
    (
        [{}, {"name": "sentiment_analysis"}],
        {"/v2/models/sentiment_analysis/infer": 1, "/v2/models/sentiment_analysis-0/infer": 0},
    ),
    (
        [{"route": "/one"}, {"route": "two/deep"}, {}],
        {
            "/one": 0,
            "/one/infer": 0,
            "/v2/models/one/infer": 0,
            "/two/deep": 1,
            "/v2/models/two/deep/infer": 1,
            "/predict": 2,
        },
    ),
    ([{"route": "/one"}], {"/one": 0, "/predict": 0}),
    ([{"route": "/one"}, {"route": "/two"}], {"/predict": None}),
    ([{}, {"route": "/predict"}], {"/predict": 1}),
    ([{"route": "/b"}, {"name": "b"}], {"/v2/models/b/infer": 1, "/b": 0}),
]


@pytest.mark.parametrize(("endpoints", "owners"), CASES)
def test_paths_lead_where_they_are_clear(
    endpoints: list[dict[str, Any]], owners: dict[str, int | None]
) -> None:
    plan = _plan(*endpoints)
    assert {path: _owner(plan, path) for path in owners} == owners


ENTRIES = st.fixed_dictionaries(
    {"task": st.sampled_from(["glue", "sentiment-analysis", "text_classification"])},
    optional={
        "name": st.sampled_from(
            ["glue", "glue-0", "glue_0", "sentiment-analysis", "sentiment_analysis-1", "a"]
        ),
        "route": st.sampled_from(["/glue", "/predict", "/a", "/a/b", "/glue-0"]),
    },
)


def _is_allowed(entries: list[dict[str, Any]]) -> bool:
    return all(
        len(values) == len(set(values))
        for values in ([entry[word] for entry in entries if word in entry] for word in ("name", "route"))
    )


@given(st.lists(ENTRIES, min_size=1, max_size=5).filter(_is_allowed))
def test_no_path_has_two_owners_and_every_endpoint_has_its_own(entries: list[dict[str, Any]]) -> None:
    plan = plan_endpoints(make_config({"endpoints": entries}, "test"))
    names = [endpoint.name for endpoint in plan]
    assert len(set(names)) == len(names)
    paths = [path for endpoint in plan for path in (*endpoint.infer_paths, *endpoint.bases)]
    assert len(set(paths)) == len(paths)
    assert all(endpoint.bases[0] == f"/v2/models/{endpoint.name}" for endpoint in plan)
