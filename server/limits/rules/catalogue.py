"""Reading and linting the catalogue of products (`server.limits.rules.products`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from server.limits.basis.tables import Tables, parse_decimal_toml
from server.limits.rules.pack import Pack
from server.limits.rules.policy_lint import parse_grades, parse_loss
from server.limits.rules.prices import parse_prices
from server.limits.rules.products import Catalogue, Product, Temporary, Velocity
from shared.errors import ConfigError

PURPOSES: Final = ("daily", "emergency", "business", "investment")
"""What a draw may say that it is for."""
BORROWERS: Final = ("consumer", "business")
LENDERS: Final = ("bank", "micro_lender")


def parse_catalogue(text: str, source: str) -> Catalogue:
    """Read and lint the text of a product catalogue.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, ["id", "version", "effective_from", "currency", "products"])
    rows = [_product(tables, row, path) for path, row in tables.rows(top, "products")]
    names = [row.id for row in rows]
    tables.check(bool(rows), "products", "must hold one row or more", names)
    tables.check(len(set(names)) == len(names), "products", "ids must differ", names)
    catalogue = Catalogue(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        effective_from=tables.day(top, "effective_from"),
        currency=tables.words(top, "currency"),
        products=MappingProxyType({row.id: row for row in rows}),
    )
    tables.finish()
    return catalogue


def check_purposes(catalogue: Catalogue, pack: Pack, day: date) -> None:
    """Check that no product is for what the law forbids.

    Raises
    ------
    ConfigError
        With all findings.
    """
    findings = [
        f"{product.id}.purposes: must not hold {purpose!r}, which {pack.name} forbids"
        for product in catalogue.products.values()
        for purpose in sorted(product.purposes)
        if pack.forbids(purpose, day)
    ]
    if findings:
        raise ConfigError(f"catalogue {catalogue.id}/{catalogue.version}", findings)


_AMOUNTS: Final = ("cap_minor", "floor_minor", "least_draw_minor", "income_minor")


def _product(tables: Tables, row: Mapping[str, Any], path: str) -> Product:
    known = ["id", "borrower", "lender", *_AMOUNTS, "quantum_minor", "months", "purposes"]
    tables.unknown(
        path, row, [*known, "grades", "expected_loss", "prices", "temporary", "velocity"]
    )
    dot = f"{path}."
    cap, floor, least, income = (tables.amount(row, key, path) for key in _AMOUNTS)
    rule = "floor_minor <= cap_minor must hold, and least_draw_minor <= cap_minor"
    tables.check(max(floor, least) <= cap, path, rule, [floor, least, cap])
    grades = parse_grades(tables, row, dot)
    prices = parse_prices(tables, row, dot)
    same = list(prices) == list(grades)
    tables.check(same, f"{dot}prices", "must hold the grades, in order", list(prices))
    return Product(
        id=tables.words(row, "id", path),
        borrower=_one_of(tables, row, "borrower", path, BORROWERS),
        lender=_one_of(tables, row, "lender", path, LENDERS),
        cap_minor=cap,
        floor_minor=floor,
        quantum_minor=tables.amount(row, "quantum_minor", path, low=1),
        least_draw_minor=least,
        months=_months(tables, row, path),
        purposes=frozenset(_purposes(tables, row, path)),
        income_minor=income,
        grades=grades,
        expected_loss=parse_loss(tables, row, "expected_loss", dot),
        prices=prices,
        temporary=_temporary(tables, row, path) if "temporary" in row else None,
        velocity=_velocity(tables, row, path) if "velocity" in row else None,
    )


def _one_of(
    tables: Tables, row: Mapping[str, Any], key: str, path: str, known: tuple[str, ...]
) -> str:
    value = tables.words(row, key, path)
    tables.check(value in known, f"{path}.{key}", f"must be one of {', '.join(known)}", value)
    return value


def _months(tables: Tables, row: Mapping[str, Any], path: str) -> tuple[int, ...]:
    value = row.get("months")
    good = isinstance(value, list) and bool(value)
    good = good and all(type(one) is int and 1 <= one <= 120 for one in value or ())
    tables.check(good, f"{path}.months", "must be whole numbers from 1 to 120", value)
    return tuple(sorted(value)) if good and value else (1,)


def _purposes(tables: Tables, row: Mapping[str, Any], path: str) -> list[str]:
    value = row.get("purposes")
    good = isinstance(value, list) and bool(value) and all(one in PURPOSES for one in value)
    tables.check(good, f"{path}.purposes", f"must be some of {', '.join(PURPOSES)}", value)
    return value if good and isinstance(value, list) else []


def _temporary(tables: Tables, row: Mapping[str, Any], path: str) -> Temporary:
    where = f"{path}.temporary"
    section = tables.table(where, row.get("temporary"))
    tables.unknown(where, section, ["most_minor", "share", "days"])
    return Temporary(
        most_minor=tables.amount(section, "most_minor", where),
        share=tables.number(section, "share", where, high=1),
        days=tables.whole(section, "days", where, low=1, high=366),
    )


def _velocity(tables: Tables, row: Mapping[str, Any], path: str) -> Velocity:
    at = f"{path}.velocity"
    section = tables.table(at, row["velocity"])
    tables.unknown(at, section, ["days", "most_minor"])
    return Velocity(
        days=tables.whole(section, "days", at, low=1, high=366),
        most_minor=tables.amount(section, "most_minor", at, low=1),
    )
