"""`confide model compare`, and what it lets be promoted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from server.cli import command_line
from shared.errors import DataError, NotFound, ReleaseRefused, UsageError
from tests.networks import manifest, signed
from tests.service.kit import Kit, real_now


@pytest.fixture
def kit(tmp_path):
    made = Kit(tmp_path / "federation")
    now = real_now()
    made.serve(created=now, now=now)
    made.registry.take(signed(made, manifest(made, created=now)), made.federation, now)
    return made


def run(kit, *arguments):
    result = CliRunner().invoke(command_line(), ["model", *arguments, "-f", str(kit.path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def data(kit, *arguments):
    return json.loads(run(kit, *arguments, "--format", "json"))["data"]


def scores(path, gain, n=3000):
    """Write held-out customers of whom the challenger sees so much more than the champion."""
    rng = np.random.default_rng(2)
    label = (rng.random(n) < 0.25).astype(int)
    truth = label + rng.normal(size=n)
    old, new = (1 / (1 + np.exp(-g * truth - rng.normal(size=n))) for g in (1.0, gain))
    rows = (f"{y},{a:.6f},{b:.6f}" for y, a, b in zip(label, old, new, strict=True))
    path.write_text("label,champion,challenger\n" + "\n".join(rows) + "\n")
    return path


def test_a_better_challenger_is_compared_written_down_and_promoted(kit, tmp_path):
    file, out = scores(tmp_path / "held-out.csv", 1.5), tmp_path / "comparison.json"
    with pytest.raises(ReleaseRefused, match="was not compared"):
        run(kit, "promote", "neural-0002")
    told = run(kit, "compare", "neural-0002", "--scores", str(file), "--out", str(out))
    assert told.startswith("neural-0002 against scorecard-0001\n  3000 customers")
    assert "can be promoted" in told
    assert "in shadow: nothing noted yet" in told
    found = data(kit, "compare", "neural-0002", "--scores", str(file))
    assert found["promotable"]
    assert not found["signed"]
    assert found["comparison"] == json.loads(out.read_text())["comparison"]
    assert found["comparison"]["auc"]["difference"]["low"] > 0
    promoted = run(kit, "promote", "neural-0002", "--comparison", str(out))
    assert promoted == "neural-0002 is champion now\n"
    assert "against" in kit.registry.book().log[-1].reason
    rows = data(kit, "list")
    assert [(one["name"], one["state"]) for one in rows] == [
        ("scorecard-0001", "former"),
        ("neural-0002", "champion"),
    ]
    assert "weights" in run(kit, "verify")
    assert data(kit, "show")["parameters"] == 24
    # Its comparison was with the card; it does not bring a third release back over itself.
    with pytest.raises(UsageError, match="serves already"):
        run(kit, "promote", "neural-0002", "--comparison", str(out))


def test_a_worse_challenger_is_said_to_be_and_is_refused(kit, tmp_path):
    file, out = scores(tmp_path / "held-out.csv", 0.5), tmp_path / "comparison.json"
    told = run(kit, "compare", "neural-0002", "--scores", str(file), "--out", str(out))
    assert "not promotable: it ranks worse" in told
    with pytest.raises(ReleaseRefused) as caught:
        run(kit, "promote", "neural-0002", "--comparison", str(out))
    assert caught.value.check == "comparison"


def test_without_a_comparison_the_answer_says_so(kit, tmp_path):
    found = data(kit, "compare", "neural-0002")
    assert found["comparison"] is None
    assert (found["promotable"], found["problem"]) == (False, "it was not compared")
    with pytest.raises(NotFound, match="no comparison to write"):
        run(kit, "compare", "neural-0002", "--out", str(tmp_path / "x.json"))
    with pytest.raises(NotFound):
        run(kit, "compare", "neural-0009")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b,c\n1,2,3\n",
        "label,champion,challenger\n",
        "label,champion,challenger\n1,0.5\n",
        "label,champion,challenger\n1,0.5,x\n",
        "label,champion,challenger\n0,0.5,0.5\n1,0.5,1.5\n0,0.5,0.5\n1,0.5,0.5\n",
    ],
)
def test_scores_that_are_none_are_refused_without_a_line_of_them(kit, tmp_path, text):
    file = tmp_path / "scores.csv"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        run(kit, "compare", "neural-0002", "--scores", str(file))
    assert "1.5" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "confide/comparison/1"}'])
def test_a_file_that_is_no_comparison_promotes_nothing(kit, tmp_path, text):
    file = tmp_path / "comparison.json"
    file.write_text(text)
    with pytest.raises(DataError):
        run(kit, "promote", "neural-0002", "--comparison", str(file))
    assert kit.registry.book().champion.name == "scorecard-0001"
