"""How strong each thing is in the simulated world: one frozen value, fitted to real months.

The numbers were fitted to the 180,000 customer-months of the UCI card data (Yeh & Lien 2009, doi
10.24432/C55S3H); `scripts/calibrate_world.py` prints both side by side.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traits:
    """The strengths; logits and standardised units unless told otherwise.

    Parameters
    ----------
    own, wealth, appetite, care : float
        Shares of standing risk.
    log_income, income_spread : float
        Of a month's income.
    log_multiple, multiple_spread, shyness : float
        Of the bank's limit: a multiple of income, less for standing risk.
    thirst, thirst_spread, thirst_risk : float
        Of the share of a limit that is used.
    idle, transactor, transactor_risk : float
    thin, business : float
        Shares of people.
    shock, fade : float
        Spread of what befalls people, and the share of it that stays a month later.
    miss, go_on, stay : float
        Chance to miss a payment when nothing is overdue, when one is, when two or more are.
    miss_pull, late_pull : float
        What distress does to the first, and to the other two.
    worse : float
        Share of those who stay behind by two or more that fall behind by one more.
    relax : float
        Share of the way to their thirst that people go in a month.
    minimum, minimum_spread : float
        Log of the share of a bill that is paid by those who do not pay it whole.
    minimum_pull : float
        What distress takes from that share.
    spend, spend_spread : float
        Log of the share of a limit that transactors spend.
    spend_pull : float
        What appetite adds to spending.
    small : float
        What those who do not pay the whole bill spend beside that, as a share of it.
    rare : float
        Share of months in which somebody idle spends.
    skip : float
        Share of those behind who pay nothing at all in a month.
    still : float
        Share of their spending that goes on for those two payments behind.
    often, often_spread : float
        Log of how often people draw again in a month in which they draw; by appetite.
    asks : float
        Log of the lenders whom people ask in a month.
    others : float
        Log of what is owed elsewhere, in months of income.
    repays, leaks : float
        Share of it that is repaid in a month, and share of what a limit does not let people spend
        that they borrow elsewhere.
    lift, lift_pull : float
        What a month of a rising economy's end adds to distress and to thirst.
    """

    own: float = 0.821
    wealth: float = 0.433
    appetite: float = 0.071
    care: float = 0.376
    log_income: float = 10.4
    income_spread: float = 0.5
    log_multiple: float = 1.287
    multiple_spread: float = 1.168
    shyness: float = 0.413
    thirst: float = -0.072
    thirst_spread: float = 3.967
    thirst_risk: float = 0.208
    idle: float = -2.013
    transactor: float = -0.614
    transactor_risk: float = 0.466
    thin: float = 0.06
    business: float = 0.08
    shock: float = 0.192
    fade: float = 0.562
    miss: float = -2.374
    go_on: float = -0.991
    stay: float = 0.157
    miss_pull: float = 1.139
    late_pull: float = 0.438
    worse: float = 0.333
    relax: float = 0.539
    minimum: float = -3.13
    minimum_spread: float = 0.499
    minimum_pull: float = -0.131
    spend: float = -1.94
    spend_spread: float = 0.658
    spend_pull: float = 0.644
    small: float = 0.071
    rare: float = 0.001
    skip: float = 0.418
    still: float = 0.23
    often: float = -0.2
    often_spread: float = 0.7
    asks: float = -1.6
    others: float = 0.0
    repays: float = 0.06
    leaks: float = 0.5
    lift: float = 0.056
    lift_pull: float = -0.156


FITTED = Traits()
