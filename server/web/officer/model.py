"""`/model`: a release, what its parties signed about its worth, and every picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from server.limits.words.sentences import Texts
from server.releases.book import Change, Entry
from server.releases.evaluation import Evaluation, evaluation_of
from server.web import language
from server.web.officer.common import Officer, OfRelease, chart_csv, refusal
from server.web.officer.pictures import Gallery
from server.web.officer.shelf import Shelf, Shown
from server.web.render import Site
from shared.errors import NotFound, ReleaseRefused
from shared.manifest import Manifest, Noised
from shared.scorecard.card import Card

Key = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


@dataclass(frozen=True, slots=True)
class Party:
    """A party as the release knows it.

    Parameters
    ----------
    name, fingerprint : str
    signed : bool
    baseline_points : int
        What stands in for it where it is missing.
    ledger_lines : int
    privacy : Noised, optional
    """

    name: str
    fingerprint: str
    signed: bool
    baseline_points: int
    ledger_lines: int
    privacy: Noised | None


@dataclass(frozen=True, slots=True)
class ModelView:
    """What the page shows of a release.

    Parameters
    ----------
    entry : Entry
    manifest : Manifest
    told : Evaluation
    card : Card, optional
        None of a network.
    parties : tuple of Party
    log : tuple of Change
        Of this release.
    """

    entry: Entry
    manifest: Manifest
    told: Evaluation
    card: Card | None
    parties: tuple[Party, ...]
    log: tuple[Change, ...]


def add(found: APIRouter, site: Site, shelf: Shelf) -> None:
    """Add the routes."""
    gallery = Gallery()

    @found.get("/model")
    def model(request: Request, who: Officer, release: OfRelease = "") -> Response:
        """Show a release and its figures."""
        texts = language.texts_in(language.wanted(request))
        try:
            shown = shelf.shown(release)
        except ReleaseRefused as error:
            return refusal(site, request, who, error)
        return site.page(
            request, "officer/model.html", who, **model_page(shelf, gallery, shown, texts)
        )

    @found.get("/model/figures/{key}.csv")
    def figures(request: Request, _who: Officer, key: Key, release: OfRelease = "") -> Response:
        """Give the figures of a picture."""
        shown, texts = shelf.shown(release), language.texts_in(language.wanted(request))
        if shown is None:
            raise NotFound("no release serves")
        manifest = shown.release.manifest
        charts = gallery.of(manifest, shown.entry.digest, texts)
        return chart_csv(charts, key, manifest.name)


def model_page(shelf: Shelf, gallery: Gallery, shown: Shown | None, texts: Texts) -> dict[str, Any]:
    """Return what the template of the page shows; nothing of a release where none serves."""
    every = sorted(shelf.book().entries.values(), key=lambda one: -one.counter)
    if shown is None:
        return {"view": None, "every": every, "charts": ()}
    charts = gallery.of(shown.release.manifest, shown.entry.digest, texts)
    return {"view": model_view(shelf, shown), "every": every, "charts": charts}


def model_view(shelf: Shelf, shown: Shown) -> ModelView:
    """Return a release as the page shows it."""
    manifest, signatures = shown.release.manifest, shown.release.signatures
    return ModelView(
        entry=shown.entry,
        manifest=manifest,
        told=evaluation_of(manifest.evaluation),
        card=manifest.model if isinstance(manifest.model, Card) else None,
        parties=tuple(
            Party(
                name,
                one.fingerprint,
                name in signatures,
                one.baseline_points,
                one.ledger_lines,
                one.privacy,
            )
            for name, one in sorted(manifest.parties.items())
        ),
        log=tuple(one for one in shelf.book().log if one.release == manifest.name),
    )
