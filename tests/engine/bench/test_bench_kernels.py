"""`--kernels`: tables, crossing points, the check of the choice, and every way to call it wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench.__main__ import main
from engine.bench.kernels import choice, command
from engine.bench.kernels.layers import LAYERS, QUICK_LAYERS, Layer
from engine.bench.kernels.measure import Trial, subjects, trials
from engine.bench.kernels.report import overtakes
from engine.calibration.case import PATTERNS_OF, Case
from engine.calibration.product import Subject, Timed, timed_product
from engine.kernels.cost import Coefficients
from engine.lowering.choose import PRODUCT_ROWS
from engine.plan.weights import WeightStore
from engine.runtime.team import Team
from engine.runtime.teams import team_of

TINY = (Layer("tiny", 24, 40, (4, 64)),)


@pytest.fixture(autouse=True)
def tiny_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "QUICK_LAYERS", TINY)
    monkeypatch.setattr(command, "ZEROS", (0.0, 0.5, 0.9))
    monkeypatch.setattr(command, "LAYER_S", 0.0)
    monkeypatch.setattr(command, "CHECK_S", 0.0)


def test_every_row_is_measured_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kernels.json"
    assert main(["--kernels", "-q", "-ncores", "1", "-x", str(file)]) == 0
    content, printed = json.loads(file.read_text()), capsys.readouterr()
    assert {figure["family"] for figure in content["figures"]} == {row.family for row in PRODUCT_ROWS}
    assert all(row.family in printed.out for row in PRODUCT_ROWS)
    assert printed.err == ""
    for figure in content["figures"]:
        assert figure["gops"] == pytest.approx(figure["share_of_peak"] * figure["peak_gops"])
        assert figure["median_ns"] > 0
        assert figure["against_dense"] > 0
    assert content["crossings"]


def test_families_can_be_named_and_dense_ones_stay_as_the_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kernels", "csr_f32", "-q", "-ncores", "1"]) == 0
    printed = capsys.readouterr().out
    assert "csr_f32" in printed
    assert "dense_f32" in printed
    assert "block4_int8" not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kernels", "no_such_family"],
        ["--kernels", "-x", "/no/such/folder/file.json"],
        ["--kernels", "-ncores", "100000"],
        ["--kernels", "--surprise"],
        ["--kernels", "--check", "--resume"],
        ["--kernels", "--resume", "-x", "file.json"],
    ],
)
def test_a_wrong_call_ends_with_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_check_counts_the_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "check.json"
    code = main(["--kernels", "--check", "-q", "-x", str(file)])
    verdicts = json.loads(file.read_text())["verdicts"]
    assert f"{len(verdicts)} choices" in capsys.readouterr().out
    assert code in (0, 1)
    # Two numbers of lanes; three shares of zeros in the first pattern of an operand, two in each other.
    assert len(verdicts) == 2 * sum(1 + 2 * len(patterns) for patterns in PATTERNS_OF.values())


def test_a_stopped_check_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "check.json"
    arguments = ["--kernels", "--check", "--resume", "-x", str(file)]
    main([*arguments, "-q"])
    content = json.loads(file.read_text())
    whole = content["verdicts"]
    # As if it had been stopped before the last number of lanes of the last operand.
    content["verdicts"] = [row for row in whole if (row["operand"], row["lanes"]) != ("w4", 64)]
    file.write_text(json.dumps(content))
    capsys.readouterr()
    main(arguments)
    printed = capsys.readouterr()
    assert [line.split(":")[-2].strip() for line in printed.err.splitlines()[1:]] == [
        "w4 tiny 24 x 40, 64 lanes"
    ]
    assert f"{len(whole)} choices" in printed.out
    assert len(json.loads(file.read_text())["verdicts"]) == len(whole)


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense"])
def test_what_is_no_check_is_not_resumed(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "check.json"
    file.write_text(content)
    assert main(["--kernels", "--check", "--resume", "-q", "-x", str(file)]) == 2
    assert "cannot resume" in capsys.readouterr().err
    assert file.read_text() == content


def test_the_check_finds_a_slow_pick() -> None:
    """Rates that make one row seem free: that row is picked, and judged by its measured time."""
    free = dict.fromkeys((16, 32, 64), Coefficients(0, 0, 0, 0, 0))
    work = trials(subjects(Layer("layer", 96, 96, (64,)), "f32", (0.0,)), 64, (), precision="f32")
    (verdict,) = choice.verdicts(work, team_of(1), {"csr_f32": free}, 0.01)
    assert verdict.picked == "csr_f32"
    assert verdict.best == min(verdict.measured, key=verdict.measured.__getitem__)
    assert verdict.is_good is (verdict.excess <= choice.ALLOWED)
    assert "csr_f32 is" in str(verdict)


def test_a_verdict_compares_measured_times() -> None:
    subject = subjects(TINY[0], "f32", (0.0,))[0]
    slow = choice.Verdict(subject, "a", {"a": 120.0, "b": 100.0}, {"a": 90.0, "b": 95.0})
    fair = choice.Verdict(subject, "a", {"a": 109.0, "b": 100.0}, {"a": 90.0, "b": 95.0})
    assert (slow.excess, slow.is_good, slow.best) == (1.2, False, "b")
    assert fair.is_good


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([(0.0, 2.0), (0.5, 1.0), (0.9, 0.2)], 0.5),
        ([(0.0, 2.0), (0.5, 1.5), (1.0, 0.5)], 0.75),
        ([(0.0, 0.9), (0.5, 0.5)], 0.0),
        ([(0.0, 3.0), (0.9, 1.1)], None),
        ([(0.0, 0.9), (0.5, 1.2), (0.9, 0.8)], 0.7),
    ],
)
def test_where_a_row_overtakes(curve: list[tuple[float, float]], expected: float | None) -> None:
    found = overtakes(curve)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_layers_cover_the_models_and_lanes() -> None:
    assert {layer.model for layer in LAYERS} == {"BERT-base", "BERT-large", "ResNet-50", "MobileNet"}
    lanes = {count for layer in LAYERS for count in layer.lanes}
    assert (min(lanes), max(lanes)) == (1, 4096)
    assert {(layer.m, layer.k) for layer in QUICK_LAYERS} <= {(layer.m, layer.k) for layer in LAYERS}


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "kernels.png"
    assert main(["--kernels", "-q", "-ncores", "1", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_matplotlib_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["--kernels", "-q", "--plot", "picture.png"]) == 2
    assert "sparselane[plot]" in capsys.readouterr().err


@pytest.mark.parametrize(("lanes", "kept", "plans"), [(1, False, 4), (1, True, 1), (64, False, 1)])
def test_over_few_lanes_weights_that_no_cache_keeps_are_read_from_copies(
    monkeypatch: pytest.MonkeyPatch, lanes: int, kept: bool, plans: int
) -> None:
    (row,) = (row for row in PRODUCT_ROWS if row.family == "csr_f32")
    subject = Subject.of(Case("f32", 24, 32, lanes, 0.5))
    size = row.pack(subject.w).entries.nbytes
    monkeypatch.setattr(choice, "is_kept", lambda packed: kept or packed == 0)
    monkeypatch.setattr(choice, "cache_bytes", lambda _level: 3 * size // 2)
    made: list[WeightStore] = []

    def noted(subject: Subject, family: str, team: Team) -> Timed:
        made.append(subject.packed)
        return timed_product(subject, family, team)

    monkeypatch.setattr(choice, "timed_product", noted)
    run = choice._run_of(Trial(row, subject), team_of(1))
    for _ in range(5):
        run()
    assert len({id(store) for store in made}) == len(made) == plans
