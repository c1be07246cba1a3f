"""The elastic policy on 4 nodes x 16 cores, 8 streams a node, modelled: see elastic_model.py and docs/scheduling.md."""

from __future__ import annotations

import pytest
from elastic_model import Outcome, Request, arrivals, elastic, round_robin, simulate

NODES, STREAMS, REQUESTS = 4, 8, 20_000
# A request that a foreign node serves reads that node's own weights, but its caller's arrays from afar.
REMOTE = 1.05


def outcomes(load: float) -> dict[str, Outcome]:
    def requests() -> list[Request]:
        return arrivals(REQUESTS, load, NODES * STREAMS, seed=1)

    return {
        "elastic": simulate(requests(), NODES, STREAMS, elastic, helps=True, remote=REMOTE),
        "round robin": simulate(requests(), NODES, STREAMS, round_robin, helps=False),
        # One line over all nodes: a request runs wherever a stream is free, mostly far from its caller.
        "single queue": simulate(requests(), 1, NODES * STREAMS, elastic, helps=True),
    }


@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_elastic_has_the_tail_of_a_single_queue_and_the_locality_of_nodes(load: float) -> None:
    found = outcomes(load)
    assert all(len(outcome.latencies) == REQUESTS for outcome in found.values())
    assert found["elastic"].imbalance < 1.1
    assert found["elastic"].percentile(0.5) <= found["round robin"].percentile(0.5)
    assert found["elastic"].percentile(0.99) <= found["round robin"].percentile(0.99)
    assert found["elastic"].percentile(0.99) <= 1.25 * found["single queue"].percentile(0.99)
