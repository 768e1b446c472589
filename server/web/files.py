"""What pages give as files that are saved: proofs, records, figures of charts."""

from __future__ import annotations

from typing import Final

from fastapi import Response

from server.web.charts import Table, csv_of
from server.web.render import HEADERS

CSV: Final = "text/csv; charset=utf-8"
JSON: Final = "application/json"


def as_file(body: bytes, name: str, media_type: str = JSON) -> Response:
    """Return bytes as a file that is saved under a name."""
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type=media_type, headers=headers)


def as_csv(table: Table, name: str) -> Response:
    """Return a table as a CSV file.

    It begins with a byte order mark, without which spreadsheets take it for another encoding.

    Parameters
    ----------
    table : Table
    name : str
        Of the file, without its ending.
    """
    return as_file(csv_of(table).encode("utf-8-sig"), f"{name}.csv", CSV)
