"""The coordinator's Flower `ServerApp`: phase after phase, the same under every engine."""

from __future__ import annotations

from pathlib import Path

from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.phases import run_phases
from shared.arrays import pack_value

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run every phase; leave the outcome in the context's state."""
    config = context.run_config
    coordinator = Coordinator.load(Path(str(config["federation"])), str(config["run"]))
    outcome = run_phases(grid, coordinator)
    context.state["outcome"] = ConfigRecord({"value": pack_value(outcome)})
