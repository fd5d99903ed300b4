"""The chat page in a real browser: one message a question, figures that lead to their origin, text that stays text."""

import pytest
from playwright.sync_api import Browser, expect
from visitor import HOSTILE, TOKEN, Served

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_question_is_answered_and_each_figure_leads_to_its_origin(
    chatting: Served, browser: Browser, width: int, height: int
):
    context = browser.new_context(viewport={"width": width, "height": height})
    page, errors, elsewhere = context.new_page(), [], []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on(
        "request", lambda r: elsewhere.append(r.url) if r.url.startswith("http") and chatting.base not in r.url else 0
    )
    page.goto(f"{chatting.base}/voila/render/chat.ipynb?token={TOKEN}", wait_until="commit")
    box = page.locator(".chat-form textarea")
    box.wait_for(timeout=60_000)
    page.locator(".chat-chips button", has_text="What regime is MSFT in?").wait_for()
    box.fill("what is the price of MSFT in 2010?")
    box.press("Enter")
    said = page.locator(".chat-bot .said").first
    expect(said).to_contain_text("The adjusted close of MSFT was $", timeout=60_000)
    assert box.input_value() == ""
    link = page.locator(".chat-bot a.claim").first
    link.click()
    shown = page.locator(".chat-shown")
    expect(shown).to_contain_text("content ")
    expect(shown).to_contain_text(link.inner_text())
    box.fill(HOSTILE)
    box.press("Shift+Enter")
    assert box.input_value().endswith("\n")
    box.press("Enter")
    expect(page.locator(".chat-bot .said")).to_have_count(2, timeout=60_000)
    expect(page.locator(".chat-user").last).to_have_text(HOSTILE)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator("[role=log][aria-live=polite]").count() == 1
    box.fill("train RidgeRegression on MSFT")
    box.press("Enter")
    expect(page.locator(".chat-bot .said").nth(2)).to_contain_text("the role viewer may not", timeout=60_000)
    assert errors == []
    assert elsewhere == []
    page.goto("about:blank")
    context.close()
