"""One chart of every kind, in both languages, for the tests and for looking at."""

# ruff: noqa: E501 - tables of texts and figures are read by the line
from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np

from server.web import charts as c
from shared.trueness import calibration_table

TOLD = {
    "en": c.Told(
        empty="There is nothing to show yet.",
        loading="The picture is being made.",
        error="The picture could not be made. The figures are safe; try again later.",
        too_few="Fewer than 20 people: not shown, so that nobody can be recognised.",
        withheld="< 20",
    ),
    "zh": c.Told(
        empty="暂无数据。",
        loading="正在生成图表。",
        error="图表生成失败,数据未受影响,请稍后再试。",
        too_few="不足 20 人,为避免识别个人,不予显示。",
        withheld="<20",
    ),
}
TEXTS = {
    "stacked": (
        ("Your limit", "Amount", "Part", "Part", "Amount", "Limit"),
        ("您的额度", "金额", "部分", "部分", "金额", "额度"),
    ),
    "waterfall": (
        ("How your limit comes about", "Amount", "Step", "Step", "Change", "After", "binds", "Your limit"),
        ("您的额度如何得出", "金额", "步骤", "步骤", "变化", "之后", "决定因素", "您的额度"),
    ),
    "bars": (
        ("What each rule would allow", "Amount", "Rule", "Rule", "Amount", "binds", "Your limit"),
        ("各规则允许的额度", "金额", "规则", "规则", "金额", "决定因素", "您的额度"),
    ),
    "holders": (
        ("Alone and together", "AUC", "Model", "Model", "Low", "High", "alone", "all together", "pooled oracle"),
        ("单独与联合", "AUC", "模型", "模型", "下限", "上限", "单独", "联合", "集中训练参照"),
    ),
    "worth": (
        ("What each holder adds", "Share of variance explained", "Holder", "Holder", "Worth"),
        ("各数据方的贡献", "解释方差占比", "数据方", "数据方", "贡献"),
    ),
    "funnel": (
        ("From cut to restored", "People", "Stage", "Stage", "People", "Of all cut"),
        ("从降额到恢复", "人数", "阶段", "阶段", "人数", "占比"),
    ),
    "roc": (
        ("ROC curve", "Goods declined", "Bads declined", "Model", "Chance", "AUC", "Score"),
        ("ROC 曲线", "被拒的好客户", "被拒的坏客户", "模型", "随机", "AUC", "评分"),
    ),
    "ks_curve": (
        ("KS and cutoff", "Score", "Share below the score", "Goods", "Bads", "KS", "Cutoff"),
        ("KS 与准入线", "评分", "低于该分的占比", "好客户", "坏客户", "KS", "准入线"),
    ),
    "gains": (
        ("Gains", "People, riskiest first", "Bads found", "Model", "Chance", "Best possible"),
        ("增益曲线", "人数占比(风险由高到低)", "识别的坏客户", "模型", "随机", "理论最优"),
    ),
    "lift": (
        ("Lift by group", "Group, riskiest first", "Bad rate against all", "Lift", "Group", "Bad rate"),
        ("分组提升度", "分组(风险由高到低)", "相对坏账率", "提升度", "分组", "坏账率"),
    ),
    "calibration": (
        ("Calibration by decile", "Decile of probability", "Default rate", "Decile", "People", "Expected", "Observed", "Observed defaults", "Expected defaults"),
        ("分位校准", "违约概率分位", "违约率", "分位", "人数", "预期", "实际", "实际违约数", "预期违约数"),
    ),
    "score_distribution": (
        ("Scores of goods and bads", "Score", "Share of the class", "Goods", "Bads", "withheld: fewer than 20 people", "From", "To"),
        ("好坏客户评分分布", "评分", "类别占比", "好客户", "坏客户", "不足 20 人,不予显示", "从", "到"),
    ),
    "limit_changes": (
        ("Limits under the new policy", "Change of the limit", "People", "People", "From", "To", "withheld: fewer than 20 people"),
        ("新政策下的额度变化", "额度变化", "人数", "人数", "从", "到", "不足 20 人,不予显示"),
    ),
    "stability_months": (
        ("Stability of the score", "Month", "Stability index", "Month", "People", "Index", "Band", "stable, under 0.10", "watch", "act, over 0.25"),
        ("评分稳定性", "月份", "稳定性指数", "月份", "人数", "指数", "区间", "稳定(低于 0.10)", "关注", "处置(高于 0.25)"),
    ),
    "burn_down": (
        ("Privacy budget left", "Round", "Epsilon left", "nothing left"),
        ("剩余隐私预算", "轮次", "剩余 ε", "已用尽"),
    ),
    "lines": (
        ("AUC by round", "Round", "AUC"),
        ("各轮 AUC", "轮次", "AUC"),
    ),
    "cutoff_curve": (
        ("What a cutoff does", "Cutoff", "Approval rate", "Approval rate", "Expected loss", "Cutoff"),
        ("准入线的影响", "准入线", "通过率", "通过率", "预期损失", "准入线"),
    ),
    "heat_strip": (
        ("Drift of the features", "Month", "Feature", "stable", "watch", "act"),
        ("特征漂移", "月份", "特征", "稳定", "关注", "处置"),
    ),
    "migration": (
        ("Migration of grades", "Grade after", "Grade before", "People; the darker, the larger their share of the row"),
        ("评级迁移", "之后评级", "之前评级", "人数;颜色越深占该行比例越大"),
    ),
    "swap_set": (
        ("Swap set", "New policy", "Old policy", "approves", "declines", "approves", "declines", "Approved by both", "Swapped in", "Swapped out", "Declined by both", "Cell", "People", "Bad rate", "Limits"),
        ("客群置换", "新政策", "旧政策", "通过", "拒绝", "通过", "拒绝", "均通过", "换入", "换出", "均拒绝", "单元", "人数", "坏账率", "额度"),
    ),
    "bin_bars": (
        ("Utilisation of cards", "Points", "Bin", "Bin", "People", "Bad rate", "Points"),
        ("信用卡使用率", "分数", "分箱", "分箱", "人数", "坏账率", "分数"),
    ),
    "timeline": (
        ("Your way back", "Date", "What happens", "Limit lowered", "Today", "Earliest rise", "Next review", "Rule", "Payments on time", "Event", "Date", "not known yet"),
        ("恢复进度", "日期", "事项", "额度降低", "今天", "最早恢复", "下次审查", "规则", "按时还款", "事项", "日期", "尚未确定"),
    ),
    "lanes": (
        ("Run 7 at each party", "Time since the start", "Party", "Party", "Phase", "Start", "End", "State", "at work", "waiting", "lost"),
        ("第 7 次运行", "运行时间", "参与方", "参与方", "阶段", "开始", "结束", "状态", "工作中", "等待", "失联"),
    ),
}  # fmt: skip


def words(kind: str, language: str = "en") -> c.Words:
    """Return the words of a kind of chart."""
    title, x, y, *names = TEXTS[kind][0 if language == "en" else 1]
    return c.Words(
        key=kind.replace("_", "-"),
        title=title,
        description=f"{title}: {y}, {x}.",
        x=x,
        y=y,
        names=dict(zip(c.NAMES[kind], names, strict=True)),
        told=TOLD[language],
    )


def scored(people: int = 6_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores and probabilities of made-up people."""
    rng = np.random.default_rng(7)
    prob = 1 / (1 + np.exp(-rng.normal(-2.4, 1.1, people)))
    label = (rng.random(people) < prob).astype(np.int64)
    score = np.clip(np.round(560 - 55 * np.log(prob / (1 - prob)) / 1.1), 350, 950)
    return label, score, prob


def score_bins(people: int = 6_000, step: int = 1) -> c.ScoreBins:
    """Return those people in bins of the score."""
    label, score, _ = scored(people)
    return c.ScoreBins.of_rows(label, score, range(350, 951, step))


MONTHS = [f"2026-{month:02}" for month in range(1, 13)]
INDICES = [0.0, 0.02, 0.03, 0.05, None, 0.09, 0.13, 0.18, 0.22, 0.27, 0.31, 0.21]


def gallery(language: str = "en") -> dict[str, c.Chart]:
    """Return a chart of every kind with figures as they come in practice."""
    zh = language == "zh"
    money = c.Unit("元" if zh else "CNY", 0, 100)
    seconds = c.Unit("秒" if zh else "s", 1)
    bank, shop, phone = ("云桥银行", "优选商城", "移动通信") if zh else (
        "Northbank with its seven branches", "Shop", "Telecom",
    )  # fmt: skip
    w: Callable[[str], c.Words] = lambda kind: words(kind, language)  # noqa: E731
    label, _, prob = scored()
    deciles = calibration_table(label, prob)
    spread = [(max(0.0, one.bad_rate - 0.02), one.bad_rate + 0.02) for one in deciles]
    rounds = range(1, 13)
    names = ("评分允许", "收入上限", "负债上限", "资金占用") if zh else (
        "What the score would allow", "Cap by income", "Cap by debt already owed elsewhere",
        "Capital of the lenders",
    )  # fmt: skip
    parts = ("已用", "冻结", "可用") if zh else ("Used", "Held", "Available")
    stages = ("降额", "观察", "首次恢复", "完全恢复", "申诉") if zh else (
        "Cut", "Under observation", "First rise", "Restored", "Disputed",
    )  # fmt: skip
    return {
        "stacked": c.stacked(w("stacked"), list(zip(parts, (1_230_000, 150_000, 2_620_000), strict=True)), money),
        "waterfall": c.waterfall(w("waterfall"), [c.Step(names[0], 6_000_000), c.Step(names[1], -1_200_000), c.Step(names[2], -300_000), c.Step(names[3], -1_500_000, binds=True)], money),
        "bars": c.bars(w("bars"), [c.Bar(names[0], 6_000_000), c.Bar(names[1], 4_800_000), c.Bar(names[2], 4_500_000), c.Bar(names[3], 3_000_000, marked=True)], money, reference=3_000_000),
        "holders": c.holders(w("holders"), [c.Bar(bank, 0.701, 0.688, 0.714), c.Bar(shop, 0.655, 0.641, 0.669), c.Bar(phone, 0.618, 0.603, 0.633)], c.Bar("全部联合" if zh else "All together", 0.772, 0.760, 0.784), c.Bar("集中训练" if zh else "Pooled oracle", 0.775, 0.763, 0.787)),
        "worth": c.worth(w("worth"), [c.Bar(phone, -0.004), c.Bar(shop, 0.151), c.Bar(bank, 0.62)]),
        "funnel": c.funnel(w("funnel"), list(zip(stages, (1840, 1502, 1110, 640, 7), strict=True))),
        "roc": c.roc(w("roc"), score_bins()),
        "ks_curve": c.ks_curve(w("ks_curve"), score_bins(), 640),
        "gains": c.gains(w("gains"), score_bins()),
        "lift": c.lift(w("lift"), score_bins()),
        "calibration": c.calibration(w("calibration"), deciles, spread),
        "score_distribution": c.score_distribution(w("score_distribution"), score_bins(step=30)),
        "limit_changes": c.limit_changes(w("limit_changes"), [-2_000_000, -1_000_000, -500_000, 0, 500_000, 1_000_000, 1_500_000, 2_000_000], [210, 640, 980, 2_400, 1_150, 320, 11], money),
        "stability_months": c.stability_months(w("stability_months"), [c.Month(name, 400 if index is not None else 12, index) for name, index in zip(MONTHS, INDICES, strict=True)]),
        "burn_down": c.burn_down(w("burn_down"), [c.Series(name, tuple((at, max(0.0, top - at * slope)) for at in range(13))) for name, top, slope in ((bank, 4.0, 0.2), (shop, 4.0, 0.28), (phone, 3.0, 0.25))], c.Unit(), c.Unit("ε", 2)),
        "lines": c.lines(w("lines"), [c.Series(name, tuple((at, top - 0.2 / at) for at in rounds)) for name, top in ((bank, 0.78), (shop, 0.75), (phone, 0.71))], c.Unit(), c.FIGURE),
        "cutoff_curve": c.cutoff_curve(w("cutoff_curve"), [c.Cutoff(score, 1 - ((score - 350) / 600) ** 2, 9e7 * (1 - (score - 350) / 600) ** 3) for score in range(350, 951, 25)], 6_000, c.Unit("百万元" if zh else "million CNY", 2, 1e8), 640),
        "heat_strip": c.heat_strip(w("heat_strip"), ["utilisation", "months_on_book", "orders_90d", "top_ups"], MONTHS, [[None if index is None else abs(index * factor) for index in INDICES] for factor in (1.0, 0.3, 0.6, 1.2)]),
        "migration": c.migration(w("migration"), ["A", "B", "C", "D", "E"], [[820, 64, 21, 0, 0], [71, 1210, 140, 30, 4], [0, 160, 990, 133, 22], [0, 25, 120, 610, 88], [0, 0, 24, 77, 402]]),
        "swap_set": c.swap_set(w("swap_set"), [c.Swap(4_120, 0.031, 6.2e10), c.Swap(310, 0.042, 3.1e9), c.Swap(205, 0.113, 2.2e9), c.Swap(1_365, 0.21, 0)], c.Unit("百万元" if zh else "million CNY", 1, 1e8)),
        "bin_bars": c.bin_bars(w("bin_bars"), [c.Bin("[0, 10%)", 2_100, 24, 0.021), c.Bin("[10%, 40%)", 1_900, 8, 0.048), c.Bin("[40%, 80%)", 1_200, -6, 0.11), c.Bin("[80%, ∞)", 640, -31, 0.24), c.Bin("缺失" if zh else "missing", 160, 0, 0.09)]),
        "timeline": c.timeline(w("timeline"), c.WayBack(date(2026, 3, 2), date(2026, 7, 9), date(2026, 9, 30), date(2026, 7, 15), "连续六次按时还款后恢复一半额度" if zh else "Six payments on time in a row restore half of what was cut", 4, 6)),
        "lanes": c.lanes(w("lanes"), [c.Lane(bank, (c.Span("align", 0, 4.1), c.Span("bins", 4.1, 7.5), c.Span("moments", 7.5, 15), c.Span("wait", 15, 18, "waiting"))), c.Lane(shop, (c.Span("align", 0, 3.0), c.Span("wait", 3.0, 4.1, "waiting"), c.Span("bins", 4.1, 9), c.Span("moments", 9, 18))), c.Lane(phone, (c.Span("align", 0, 2.2), c.Span("lost", 2.2, 18, "lost")))], seconds),
    }  # fmt: skip
