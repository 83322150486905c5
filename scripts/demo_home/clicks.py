"""What a person clicks in Home Assistant to connect a server, let Assist ask it, and look at it.

Each moment that is worth a picture is shown to a `Look`, with the part of the page that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from playwright.async_api import Locator, Page, expect

type Look = Callable[[str, Locator], Coroutine[None, None, None]]


async def add_by_address(page: Page, zoe_url: str, look: Look) -> None:
    """Find Zoe in the list of integrations, and enter the address of the server."""
    await _open_integrations(page)
    await page.get_by_role("button", name="Add integration").first.click()
    choice = page.locator("dialog-add-integration")
    await choice.locator("input").first.fill("Zoe")
    await choice.get_by_role("listitem").filter(has_text="Zoe").click()
    await _fill(page, "Address", zoe_url)
    await look("address", _dialog(page))
    await _submit(page).click()


async def add_discovered(page: Page, flow_id: str, port: int, api_key: str, look: Look) -> None:
    """Add the server whose discovery began this flow, which listens on `port`, and enter its key."""
    await _open_integrations(page)
    card = await _card(page, flow_id)
    await card.scroll_into_view_if_needed()
    await look("discovered", card)
    await card.get_by_role("button", name="Add").click()
    await expect(_flow(page)).to_contain_text(f":{port}")
    await look("confirm", _dialog(page))
    await _submit(page).click()
    await _fill(page, "API key", api_key)
    await look("key", _dialog(page))
    await _submit(page).click()


async def finish(page: Page, look: Look) -> str:
    """Wait for the outcome of the check, connect the server, and return what was said about it."""
    await _flow(page).get_by_text("The server works").wait_for()
    await look("checked", _dialog(page))
    outcome = "\n".join(await _flow(page).locator("ha-markdown p").all_inner_texts())
    await _submit(page).click()
    done = _flow(page).get_by_role("button", name="Skip and finish")
    await done.wait_for()
    await look("connected", _dialog(page))
    await done.click()
    await done.wait_for(state="hidden")
    return outcome


async def let_assist_ask_zoe(page: Page, look: Look) -> None:
    """Let the assistant that everybody begins with ask Zoe."""
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_text("Voice assistants", exact=True).click()
    await page.get_by_role("listitem").filter(has_text="Home Assistant").first.click()
    assistant = page.locator("dialog-voice-assistant-pipeline-detail")
    agents = assistant.locator("ha-conversation-agent-picker")
    await agents.get_by_role("listitem").click()
    await agents.get_by_role("menuitem").filter(has_text="Zoe").click()
    await expect(agents.locator("ha-picker-field span", has_text="Zoe")).to_be_visible()
    await look("assistant", assistant.locator("dialog"))
    update = assistant.get_by_role("button", name="Update")
    await update.click()
    await update.wait_for(state="hidden")


async def look_at_server(page: Page, url: str, look: Look) -> None:
    """Open the page of the integration, and from there that of the server's device."""
    await page.goto(f"{url}/config/integrations/integration/zoe")
    device = page.locator("ha-config-entry-device-row").filter(has_text="Zoe server")
    await device.wait_for()
    await look("integration", page.locator("ha-config-integration-page"))
    await device.click()
    await page.get_by_text("Run a self test").wait_for()
    await look("device", page.locator("ha-config-device-page .container"))


async def look_at_options(page: Page, url: str, look: Look) -> None:
    """Open the options of the agent, and close them again."""
    await page.goto(f"{url}/config/integrations/integration/zoe")
    agent = page.locator("ha-config-sub-entry-row").filter(has_text="Conversation agent")
    await agent.locator("ha-icon-button").nth(1).click()  # the gear; the first one unfolds the row
    await _submit(page).wait_for()
    await _flow(page).locator(".cm-content").first.wait_for()  # the editor of the instructions, which comes late
    await look("agent", _dialog(page))
    await page.keyboard.press("Escape")
    await _submit(page).wait_for(state="hidden")


async def open_light(page: Page, url: str) -> Locator:
    """Open the kitchen on the dashboard and return the card of its light, which is called by its kind there."""
    await page.goto(url)
    await page.locator("hui-area-card").filter(has_text="Kitchen").click()
    return page.locator("hui-tile-card").filter(has=page.get_by_text("Light", exact=True))


async def _open_integrations(page: Page) -> None:
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_text("Devices & services", exact=True).click()


async def _card(page: Page, flow_id: str) -> Locator:
    """Return the card of a flow; other servers on this network may have one of the same name."""
    cards = page.locator("ha-config-flow-card")
    await cards.first.wait_for()
    ids: list[str] = await cards.evaluate_all("cards => cards.map(card => card.flow.flow_id)")
    return cards.nth(ids.index(flow_id))


async def _fill(page: Page, label: str, text: str) -> None:
    await _flow(page).locator("ha-selector").filter(has_text=label).locator("input").fill(text)


def _submit(page: Page) -> Locator:
    return _flow(page).get_by_role("button", name="Submit")


def _flow(page: Page) -> Locator:
    return page.locator("dialog-data-entry-flow")


def _dialog(page: Page) -> Locator:
    """Return the visible box of a dialog, whose elements around it have no size."""
    return _flow(page).locator("dialog")
