"""An app that is not confide's, and programs of Flower that would run it."""

from __future__ import annotations

#: An app that leaves a mark wherever it runs.
FOREIGN = {
    "pyproject.toml": """
[project]
name = "foreign"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "foreign"
[tool.flwr.app.components]
serverapp = "foreign.apps:server"
clientapp = "foreign.apps:client"
[tool.flwr.app.config]
mark = ""
""",
    "foreign/__init__.py": "",
    "foreign/apps.py": """
import time
from pathlib import Path
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
server, client = ServerApp(), ClientApp()

@server.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < 2:
        time.sleep(0.2)
    mark = context.run_config["mark"]
    Path(mark, "coordinator").touch()
    grid.push_messages(
        [Message(RecordDict(), dst_node_id=node, message_type="query.it") for node in nodes]
    )
    time.sleep(300)

@client.query("it")
def it(message, context):
    Path(context.run_config["mark"], str(context.node_config["party"])).touch()
    return Message(RecordDict(), reply_to=message)
""",
}
#: A SuperLink, and a node, as Flower makes them: they take every app.
UNCHECKED_SUPERLINK = """
from shared.edge import flower_private
flower_private.prepare_coordinator = lambda: None
from server.superlink import main
main()
"""
UNCHECKED_NODE = """
from shared.edge import flower_private
flower_private.check_bundle = lambda content: None
from clients.supernode import main
main()
"""
