"""Draw the README's pictures from stored figures, or train on public data and store them anew.

    python scripts/make_pictures.py                       # docs/pictures/*.svg from figures.json
    python scripts/make_pictures.py --check               # say which of them differ; write nothing
    python scripts/make_pictures.py --collect DIR/default_credit_split

The figures are those of a release: three holders train one scorecard on the published split of
Default of Credit Card Clients (CC BY 4.0), as `confide train` does. The oracle is boosted trees on
the pooled rows, with the bank's two derived columns; it is no part of the product.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.report.figures import Ranking, results_of
from server.report.pictures import curves, rankings, worths
from server.report.scored import scored_of
from server.web.charts import standalone
from server.web.language import texts_in
from shared.edge.files import write_atomic
from shared.scorecard.calibration import Calibration
from shared.scorecard.scale import Grade, Scale
from shared.scorecard.spread import Spread

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
FIGURES = "figures.json"
SCHEMA = "confide/pictures/1"
DIGITS = 6
#: Of those that a report has.
SHOWN = ("auc", "worth", "roc", "scores", "calibration", "gains")


def pictures(value: dict[str, Any]) -> dict[str, str]:
    """Return the SVG files by name, out of stored figures; the same ones give the same bytes."""
    texts = texts_in("en")
    models = {one["name"]: ranking(one) for one in value["models"]}
    together, oracle = models.pop(""), ranking(value["oracle"])
    scale = dict(value["scale"])
    grades = tuple(Grade(**one) for one in scale.pop("grades"))
    scored = scored_of(
        Spread.from_mapping(value["by_points"]),
        Calibration.from_mapping(value["calibration"]),
        Scale(**scale, grades=grades),
    )
    shares = [(name, share) for name, share in value["worth"]]
    drawn = [
        *rankings(tuple(models.values()), together, texts, oracle),
        *worths(shares, texts),
        *curves(scored, together, texts),
    ]
    by_name = {one.key.removeprefix("report-"): one for one in drawn}
    return {f"{name}.svg": standalone(by_name[name]) + "\n" for name in SHOWN}


def ranking(value: dict[str, Any]) -> Ranking:
    spans = {
        key: tuple(value[key]) if value.get(key) else None
        for key in ("auc_interval", "ks_interval")
    }
    return Ranking(value["name"], value["auc"], value["ks"], **spans)  # type: ignore[arg-type]


def collect(data: Path) -> dict[str, Any]:
    """Train as the product does, and return what the pictures are drawn from."""
    # Only here: the pictures need neither Flower nor xgboost.
    from _credit import holders, make_federation, read_split  # noqa: PLC0415
    from bench_scorecard import compare_models, train_once  # noqa: PLC0415

    from shared.release import unpack_release  # noqa: PLC0415

    split = read_split(data)
    with tempfile.TemporaryDirectory(prefix="confide-pictures-") as name:
        federation = make_federation(Path(name), split, holders(demographics=False))
        outcome = train_once(federation).outcome
    manifest = unpack_release(outcome["release"]["bank"]["release"]).manifest
    found = results_of(manifest)
    best = compare_models(split, demographics=False, with_boosting=True)["boosting_with_derived"]
    card = manifest.card.to_mapping()
    return {
        "schema": SCHEMA,
        "data": "Default of Credit Card Clients, published split; 6,000 customers not trained on",
        "models": [of_ranking(one) for one in (*found.alone, found.together)],
        "oracle": {
            "name": "boosted trees, pooled rows",
            "auc": round(best["test_auc"], DIGITS),
            "ks": round(best["test_ks"], DIGITS),
        },
        "worth": [[name, round(share, DIGITS)] for name, share in found.worth],
        "by_points": manifest.evaluation["by_points"],
        "calibration": card["calibration"],
        "scale": card["scale"],
    }


def of_ranking(one: Ranking) -> dict[str, Any]:
    assert one.auc is not None
    assert one.ks is not None
    spans = {"auc_interval": one.auc_interval, "ks_interval": one.ks_interval}
    return {
        "name": one.name,
        "auc": round(one.auc, DIGITS),
        "ks": round(one.ks, DIGITS),
        **{key: [round(end, DIGITS) for end in span] for key, span in spans.items() if span},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--collect", type=Path, help="folder of the published split")
    parser.add_argument("--check", action="store_true", help="compare; write nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    stored = arguments.folder / FIGURES
    if arguments.collect:
        told = json.dumps(collect(arguments.collect), indent=1)
        write_atomic(stored, f"{told}\n".encode())
    made = pictures(json.loads(stored.read_text(encoding="utf-8")))
    differ = []
    for name, text in made.items():
        path = arguments.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            differ.append(name)
            if not arguments.check:
                write_atomic(path, text.encode())
    print(f"{len(made)} pictures, {len(differ)} {'differ' if arguments.check else 'written'}")
    for name in differ:
        print(f"  {name}")
    return 1 if arguments.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
