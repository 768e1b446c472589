"""The pages in a real browser: axe, the console, foreign requests, widths, keyboard, no scripts."""

from __future__ import annotations

from datetime import date

import pytest

from server.api.access import Role
from server.web import language
from tests.web.addresses import WHO, pages_of
from tests.web.run_scenes import LIVE
from tests.web.scenes import ME
from tests.web.served import a_browser, on_a_port, shown

ROOT = "document.documentElement"
FOCUSABLE = """
() => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex='0']")]
  .filter(one => one.type !== "hidden" && !one.disabled && one.checkVisibility())
  .filter(one => one.type !== "radio" || one.checked)
  .map((one, at) => one.dataset.tabbed = String(at)).length
"""
FOCUS = """
() => {
  const one = document.activeElement, look = getComputedStyle(one);
  return [one.dataset.tabbed ?? "", look.outlineStyle !== "none" && look.outlineWidth !== "0px"];
}
"""


@pytest.fixture(scope="module")
def chromium():
    """The system's own browser."""
    with a_browser() as made:
        yield made


@pytest.fixture
def served(furnished):
    """The service on a port, with a customer whose limit was lowered."""
    with on_a_port(furnished.office.app) as url:
        yield url


def signed_in(context, url, town, name="mei"):
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("#client", name)
    page.fill("#secret", town.secrets[name])
    page.click("main button")
    page.wait_for_url(lambda found: "/sign-in" not in found)
    return page


def watched(page, url):
    """Collect what a page must not do."""
    seen = []
    page.on(
        "console", lambda one: seen.append(one.text) if one.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda one: seen.append(str(one)))
    page.on("request", lambda one: None if one.url.startswith(url) else seen.append(one.url))
    return seen


def clean(page, axe, url):
    """What is wrong with the page that is shown: to axe, in width, on paper."""
    told = axe.run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in told] == [], url
    assert page.evaluate(f"{ROOT}.scrollWidth <= {ROOT}.clientWidth"), url
    page.emulate_media(media="print")
    assert page.locator("form:visible, header nav:visible").count() == 0, url
    assert page.locator("main h1:visible").count() == 1, url
    assert page.locator("details > :not(summary):not(:visible)").count() == 0, url
    page.emulate_media(media="screen")


# The grid below looks at every page of every role.
@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.OFFICER])
def test_the_first_page_of_a_role_is_clean(chromium, served, furnished, role):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = chromium.new_context(viewport={"width": 360, "height": 900}, locale="en-GB")
    page = signed_in(context, served, furnished, WHO[role])
    seen = watched(page, served)
    page.reload()
    clean(page, axe, page.url)
    assert seen == []
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("role", list(WHO))
@pytest.mark.parametrize(
    ("width", "scheme", "lang"),
    [
        (360, "light", "en-GB"),
        (1440, "dark", "zh-CN"),
        (360, "dark", "zh-CN"),
        (1440, "light", "en-GB"),
    ],
)
def test_every_page_is_clean_at_both_widths(chromium, served, furnished, role, width, scheme, lang):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, locale=lang
    )
    page = signed_in(context, served, furnished, WHO[role])
    seen = watched(page, served)
    for path in pages_of(furnished, role):
        shown(page, served + path)
        clean(page, axe, path)
    assert seen == []
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("role", list(WHO))
def test_every_page_says_the_same_without_scripts(chromium, served, furnished, role):
    texts = []
    for scripts in (True, False):
        context = chromium.new_context(java_script_enabled=scripts, locale="en-GB")
        page = signed_in(context, served, furnished, WHO[role])
        texts.append({})
        for path in pages_of(furnished, role):
            shown(page, served + path)
            # What a script says to a screen reader is the same once more.
            page.locator("[role=status].hidden").evaluate_all("all => all.forEach(a => a.remove())")
            texts[-1][path] = page.inner_text("main")
            # What only a script could send would be lost without one.
            assert page.locator("button:not(form button)").count() == 0, path
        context.close()
    assert texts[0] == texts[1]


@pytest.mark.slow
@pytest.mark.parametrize("role", list(WHO))
def test_the_keyboard_reaches_everything_and_shows_where_it_is(chromium, served, furnished, role):
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    page = signed_in(context, served, furnished, WHO[role])
    for path in pages_of(furnished, role):
        if path.endswith(LIVE):
            continue  # it is brought up to date while one tabs; see test_federation_live
        shown(page, served + path)
        page.keyboard.press("Tab")
        many = page.evaluate(FOCUSABLE)
        reached = set()
        for _ in range(many + 5):
            at, seen = page.evaluate(FOCUS)
            assert seen or not at, (path, page.evaluate("document.activeElement.outerHTML"))
            reached.add(at)
            page.keyboard.press("Tab")
        assert reached >= {str(at) for at in range(many)}, path
    context.close()


QUESTIONS = [("en-GB", "en"), ("zh-CN", "zh")]


@pytest.mark.parametrize(("locale", "lang"), QUESTIONS)
def test_the_three_questions_are_answered_by_what_can_be_seen(
    chromium, served, furnished, locale, lang
):
    """Read as a person reads: without scripts, nothing unfolded, each answer under its question."""
    told = furnished.office.get(ME, f"/v1/lines/{furnished.line}/why", lang=lang).json()
    texts = language.texts_in(lang)
    context = chromium.new_context(
        java_script_enabled=False, locale=locale, viewport={"width": 360, "height": 900}
    )
    page = signed_in(context, served, furnished)

    def seen(name):
        return page.inner_text(f"section[aria-labelledby={name}]")

    def money(minor):
        return texts.money(minor, "CNY", 2)

    low, outside, back, can = map(seen, ("low", "outside", "back", "can"))
    way = told["why_not_back"]["restoration"]
    assert texts.say("me.why_low") in low
    assert told["headline"] in low
    assert 1 <= len(told["reasons"]) <= 4
    assert all(one["text"] in low for one in told["reasons"])
    assert money(way["lost_to_behaviour_minor"]) in low
    for one in told["not_about_you"]:
        assert one["text"] in outside
        assert one["text"] not in low
    assert texts.say("me.why_not_back") in back
    assert money(way["missing_minor"]) in back
    assert way["needs"] in back
    [rule] = way["rules"]
    assert texts.say("me.progress_told", clean=rule["clean"], needed=rule["needed"]) in back
    for name in ("cut_on", "next_review_on", "earliest", "rises_on", "restored_on"):
        assert texts.day(date.fromisoformat(way[name])) in back, name
    assert texts.say("me.what_can") in can
    assert told["advice"]
    for one in told["advice"]:
        assert one["action"] in can
        assert money(one["expected_limit_minor"]) in can
        assert money(one["otherwise_limit_minor"]) in can
        assert texts.day(date.fromisoformat(one["by"])) in can
    assert all(one in can for one in told["does_not_help"])
    context.close()


def test_axe_finds_what_is_wrong(chromium, served, furnished):
    """The control: a picture without words is told."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context = chromium.new_context()
    page = signed_in(context, served, furnished)
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    assert "image-alt" in {one["id"] for one in axe.run(page).response["violations"]}
    context.close()


def test_a_slider_asks_the_server_and_stays_on_the_page(chromium, served, furnished):
    context = chromium.new_context(locale="en-GB")
    page = signed_in(context, served, furnished)
    seen = watched(page, served)
    page.goto(f"{served}/me/what-if")
    before = furnished.office.state()
    page.focus("#f-draws")
    with page.expect_response("**/me/what-if?**"):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("#answer svg.ch")
    assert page.inner_text("output[for=f-draws]") == page.input_value("#f-draws")
    assert page.url == f"{served}/me/what-if"
    assert furnished.office.state() == before
    assert seen == []
    context.close()


def test_the_pages_work_without_scripts_and_by_keyboard_alone(chromium, served, furnished):
    context = chromium.new_context(java_script_enabled=False, locale="en-GB")
    page = signed_in(context, served, furnished)
    page.goto(f"{served}/me/what-if")
    page.focus("#f-draws")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**/me/what-if?**")
    assert "What would come of it" in page.inner_text("#answer")
    page.goto(f"{served}/me/rights")
    page.fill("#c-text", "typed by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=case_complaint")
    assert "typed by keyboard" in page.inner_text("main")
    page.goto(f"{served}/me")
    page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("href") == "#main"
    context.close()


def test_the_first_page_is_small(chromium, served):
    context = chromium.new_context()
    page = context.new_page()
    sizes = []
    page.on("response", lambda one: sizes.append(len(one.body())))
    page.goto(served, wait_until="networkidle")
    assert 3 <= len(sizes) <= 8
    assert sum(sizes) < 150_000
    context.close()
