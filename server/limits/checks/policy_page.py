"""The rules as a public page: every figure read from the policy files, none written by hand (M98).

A page belongs to one file and one digest. What it says follows from the parsed values, so that it
cannot say what the policy does not do; the file itself stands beside it, word for word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from server.limits.answers.way_back import REVIEW_STEPS, condition_text
from server.limits.rules.line_policy import LinePolicy, Rule
from server.limits.rules.pack import Pack
from server.limits.rules.pack_rows import FIGURES, Duty, Figure
from server.limits.rules.policy import LossCap, Policy
from server.limits.rules.products import Catalogue, Product
from server.limits.words.explain import Money, Texts


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Parameters
    ----------
    title : str
    lines : tuple of str
        Sentences.
    """

    title: str
    lines: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"title": self.title, "lines": list(self.lines)}


def markdown(title: str, sections: Iterable[Section]) -> str:
    """Return a page as one text."""
    parts = [f"# {title}\n"]
    for one in sections:
        parts.append(f"## {one.title}\n")
        parts.append("".join(f"- {line}\n" for line in one.lines))
    return "\n".join(parts)


def policy_page(policy: Policy, texts: Texts) -> tuple[Section, ...]:
    """Return how a limit comes about, by the limit policy."""
    write = _Writer(texts, Money(policy.currency, policy.minor_digits))
    say, amount, share = write.say, write.amount, write.share
    capacity = policy.capacity
    grades = [
        say("grade", grade=one.name, amount=amount(one.limit_minor), multiple=one.income_multiple)
        if one.limit_minor
        else say("grade_none", grade=one.name)
        for one in policy.grades.values()
    ]
    bounds = [say("bounds_intro"), write.loss("expected_loss", policy.expected_loss)]
    if policy.stress_loss is not None:
        bounds.append(write.loss("stress_loss", policy.stress_loss))
    bounds.append(
        say(
            "capacity",
            dti=share(capacity.dti),
            rate=share(capacity.annual_rate),
            months=capacity.months,
        )
    )
    bounds.append(say("product_cap", amount=amount(policy.product_cap_minor)))
    if policy.other_lenders_minor is not None:
        bounds.append(say("other_lenders", amount=amount(policy.other_lenders_minor)))
    return (
        write.section(
            "how", [say("how_1"), say("how_2"), say("how_3", step=amount(policy.quantum_minor))]
        ),
        write.section("grades", grades),
        write.section("bounds", bounds),
        write.section(
            "income",
            [
                say("haircut", source=texts.sentences.get(f"source.{name}", name), share=share(one))
                for name, one in policy.haircuts.items()
            ],
        ),
        write.section(
            "economy",
            [
                say("macro", day=texts.day(one.since), share=share(one.multiplier))
                for one in policy.macro
            ],
        ),
        write.section("never", [say("never_1"), say("never_2"), texts.say("help.agent")]),
    )


def line_page(policy: LinePolicy, texts: Texts, money: Money) -> tuple[Section, ...]:
    """Return how a limit falls and comes back, by the policy of a line's life."""
    write = _Writer(texts, money)
    say, share = write.say, write.share
    of_base = {
        "down": say("of_base", share=share(policy.down_share)),
        "floor": say("of_base", share=share(policy.floor_share)),
        "up": say("of_base", share=share(policy.up_share)),
    }
    figures = {
        **of_base,
        "every": policy.every_days,
        "cut": share(policy.cut_share),
        "running": policy.down_reviews,
        "reviews": texts.reviews(policy.clean_reviews),
        "dwell": policy.dwell_days,
        "cool": policy.cool_down_days,
    }
    late = policy.arrears
    return (
        write.section("review", [texts.say(f"review.{one}", **figures) for one in REVIEW_STEPS]),
        write.section("signals", [write.rule(one) for one in policy.rules.values()]),
        write.section(
            "increase",
            [
                say(
                    "increase_1",
                    most=share(policy.increase_share),
                    months=policy.months_between,
                    days=policy.days_after_opening,
                ),
                say("increase_2", days=policy.offer_days),
                say("increase_3", share=share(policy.pause_at)),
            ],
        ),
        write.section(
            "arrears",
            [
                say("arrears_1", grace=late.grace_days, reduce=late.reduce_from),
                say("arrears_2", freeze=late.freeze_from, default=late.default_from),
                say("arrears_3", cure=late.cure_days, default_cure=late.default_cure_days),
                say("arrears_4"),
            ],
        ),
        write.section("use", [say("use_1", days=policy.memory_days), *write.idle(policy)]),
        write.section(
            "economy",
            [
                say(
                    "overlay",
                    since=texts.day(one.since),
                    until=texts.day(one.until),
                    share=share(one.multiplier),
                )
                for one in policy.overlays
            ]
            or [say("overlay_none")],
        ),
    )


def catalogue_page(catalogue: Catalogue, texts: Texts, money: Money) -> tuple[Section, ...]:
    """Return what each product is and costs."""
    write = _Writer(texts, money)
    return tuple(
        Section(texts.sentences.get(f"product.{one.id}", one.id), tuple(write.product(one)))
        for one in catalogue.products.values()
    )


def pack_page(pack: Pack, texts: Texts, money: Money) -> tuple[Section, ...]:
    """Return every figure of law with its rule, its source and whether it was looked up."""
    write = _Writer(texts, money)
    say = write.say
    caps = [
        say(
            "law_cap",
            day=texts.day(one.since),
            amount=write.amount(one.amount_minor),
            rule=one.rule,
            source=one.source,
        )
        for one in pack.consumer_cap
    ]
    duties = [write.duty(one) for one in (*pack.duties, *pack.forbidden_purposes)]
    return (
        write.section("law_caps", caps or [pack.uncapped]),
        write.section("law_figures", [write.figure(one) for one in pack.figures]),
        write.section("law_duties", duties),
    )


class _Writer:
    """Says sentences of the section `page` in one language and currency."""

    def __init__(self, texts: Texts, money: Money) -> None:
        self.texts, self.money = texts, money

    def say(self, key: str, **values: object) -> str:
        return self.texts.say(f"page.{key}", **values)

    def amount(self, minor: int) -> str:
        return self.texts.money(minor, self.money.currency, self.money.digits)

    def share(self, share: Decimal) -> str:
        return self.texts.percent(share)

    def section(self, title: str, lines: Iterable[str]) -> Section:
        return Section(self.say(f"title_{title}"), tuple(lines))

    def loss(self, name: str, cap: LossCap) -> str:
        return self.say(
            name,
            amount=self.amount(cap.most_minor),
            lgd=self.share(cap.lgd),
            ccf=self.share(cap.ccf),
        )

    def rule(self, rule: Rule) -> str:
        enter = self.say("or").join(condition_text(one, self.texts) for one in rule.enter)
        leave = self.texts.listed([condition_text(one, self.texts) for one in rule.exit])
        return self.say(
            f"signal_{rule.effect}",
            code=rule.code,
            enter=enter,
            leave=leave or self.say("person"),
            reviews=self.texts.reviews(rule.reviews),
            days=rule.min_days,
        )

    def idle(self, policy: LinePolicy) -> list[str]:
        rule = policy.inactivity
        if rule is None:
            return [self.say("idle_never")]
        return [self.say("idle", days=rule.after_days, share=self.share(rule.share))]

    def product(self, product: Product) -> Iterable[str]:
        months = self.texts.listed([str(one) for one in product.months])
        purposes = [
            self.texts.sentences.get(f"purpose.{one}", one) for one in sorted(product.purposes)
        ]
        floor, cap = self.amount(product.floor_minor), self.amount(product.cap_minor)
        yield self.say("product_size", floor=floor, cap=cap)
        yield self.say("product_months", months=months)
        yield self.say("product_purposes", purposes=self.texts.listed(purposes))
        if product.income_minor:
            yield self.say("product_income", amount=self.amount(product.income_minor))
        for grade, price in product.prices.items():
            yield self.say("price", grade=grade, rate=self.share(price.annual_rate))

    def figure(self, row: Figure) -> str:
        unit = FIGURES[row.name]
        value = f"{row.value.normalize():f}"
        if unit == "share":
            value = self.share(row.value)
        elif unit == "minor":
            value = self.amount(int(row.value))
        return self.law(row.name, value, row.since, row)

    def duty(self, duty: Duty) -> str:
        told = self.law(duty.name, "", duty.since, duty)
        names = [self.texts.sentences.get(f"topic.{one}", one.lower()) for one in duty.topics]
        return f"{told} {self.say('keeps_out', topics=', '.join(names))}" if names else told

    def law(self, name: str, value: str, since: date, row: Any) -> str:
        origin = row.origin
        return self.say(
            "law" if origin.verified else "law_hearsay",
            name=name,
            value=f" = {value}" if value else "",
            day=self.texts.day(since),
            status=self.say("in_force" if origin.status == "in force" else "draft"),
            rule=origin.rule,
            source=origin.source,
        )
