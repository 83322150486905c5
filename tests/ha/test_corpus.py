"""What a household says, in six languages, and what must come of it: `corpus/*.yaml`, with floors.

The model is a script; the home, its intents and the server's classifier are real. Each sentence is a conversation of
its own. A model that is told that an order was probably a question makes its call again; one that took a question for
an order does not.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import yaml
from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant
from homeassistant.setup import async_setup_component

from custom_components.zoe.speech.sentences import Sentences
from tests.ha.conftest import AGENT
from tests.ha.corpus_home import CORPUS, LANGUAGES, CorpusHome
from tests.ha.fake_zoe import FakeZoe
from tests.ha.tool_turns import speech
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.rules import home_evidence
from zoe_server.routing.said import bundled_said, spoken

CORRECTIONS: Final = (
    "correction_nothing",
    "correction_failed",
    "not_known",
    "nothing_to_do",
    "unknown_place",
    "which_place",
)
CORRECTIONS_OF_THINGS: Final = ("which_thing", "cannot_wait", "left_out")
CONSENTS: Final = ("consent_unlock", "consent_open", "consent_disarm", "consent_run", "consent_change")

# Shares of the sentences that each is about: how many may go wrong at most, or must go right at least.
MOST_LOST_ORDERS: Final = 0.0
MOST_DOUBTED_ORDERS: Final = 0.01
MOST_UNASKED: Final = 0.0
MOST_NOT_ASKED: Final = 0.1
MOST_WRONG_THINGS: Final = 0.0
MOST_CHANGED_BY_QUESTIONS: Final = 0.03
LEAST_OPPOSED: Final = 0.90
MOST_OPPOSED_TRUTHS: Final = 0.01


@dataclass
class Score:
    """For each figure, how many sentences it is about, how many went wrong, and which."""

    language: str
    counted: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def note(self, figure: str, said: str, *, wrong: bool) -> None:
        self.counted[figure] += 1
        if wrong:
            self.wrong.setdefault(figure, []).append(said)

    def share(self, figure: str) -> float:
        return len(self.wrong.get(figure, ())) / (self.counted[figure] or 1)

    @property
    def told(self) -> str:
        """Which sentences went wrong, by figure."""
        return "\n".join(f"{figure}:\n  " + "\n  ".join(wrong) for figure, wrong in self.wrong.items())

    def __add__(self, other: Score) -> Score:
        wrong = {one: [*self.wrong.get(one, ()), *other.wrong.get(one, ())] for one in {**self.wrong, **other.wrong}}
        return Score(self.language, self.counted + other.counted, wrong)


class Classifier:
    """The server's own, as its gateway asks it."""

    def said(self, request: dict[str, Any]) -> dict[str, float]:
        users = [message["content"] for message in request["messages"] if message["role"] == "user"]
        text = spoken(str(users[-1]))
        values: dict[str, list[str]] = request["zoe"].get("argument_values", {})
        named = {key.rpartition(".")[2]: () for key in values}
        for key, names in values.items():
            named[key.rpartition(".")[2]] += tuple(names)
        places = (*named.get("area", ()), *named.get("floor", ()))
        question = RouteQuestion(text=text, devices=tuple(named.get("name", ())), places=places)
        return bundled_said().said(text, home_evidence(question)).to_json()

    def denies(self, answer: str) -> float:
        return bundled_said().denies(answer)


def cases(language: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CORPUS / f"{language}.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture
async def corpus_home(hass: HomeAssistant, request: pytest.FixtureRequest) -> CorpusHome:
    assert await async_setup_component(hass, "homeassistant", {})
    home = CorpusHome(hass, request.param)
    await home.async_set_up()
    return home


@pytest.fixture
def tool_names(hass: HomeAssistant, agent: str) -> Callable[[str], str]:
    """The names that Home Assistant's tools have in this home, by what they are called in the corpus."""
    prefixes = {
        "GetLiveContext": "homeassistant", "GetDateTime": "llm", "HassLightSet": "light", "HassListAddItem": "todo",
        "HassClimateSetTemperature": "climate", "HassMediaPause": "media_player", "HassMediaUnpause": "media_player",
        "HassMediaNext": "media_player", "HassSetVolume": "media_player", "HassFanSetSpeed": "fan",
        "HassVacuumStart": "vacuum", "HassVacuumReturnToBase": "vacuum",
    }  # fmt: skip
    return lambda tool: f"{prefixes.get(tool, 'intent')}__{tool}"


class Listener:
    """Plays the corpus to the agent."""

    def __init__(self, home: CorpusHome, zoe: FakeZoe, tool_names: Callable[[str], str], sentences: Sentences) -> None:
        self._home = home
        self._zoe = zoe
        self._tool = tool_names
        own = (*CORRECTIONS, *CORRECTIONS_OF_THINGS)
        self._opposing = [_beginning(sentences, key) for key in own]
        self._nothing_to_do = _beginning(sentences, "nothing_to_do")
        self._not_known = _beginning(sentences, "not_known")
        self._consents = [_beginning(sentences, key) for key in CONSENTS]

    async def _say(
        self, text: str, satellite: str | None, conversation_id: str | None
    ) -> conversation.ConversationResult:
        device_id = self._home.devices[satellite] if satellite else None
        hass, language = self._home.hass, self._home.language
        return await conversation.async_converse(
            hass, text, conversation_id, Context(), language, AGENT, device_id=device_id
        )

    async def async_play(self, case: dict[str, Any], number: int, score: Score) -> None:
        zoe, talk = self._zoe, f"talk-{number}"
        zoe.script.clear()
        zoe.afterwards = str(case["after"]) if "after" in case else None
        if "before" in case:
            await self._say(case["before"], case.get("satellite"), talk)
        zoe.afterwards = str(case.get("answer", "OK."))
        self._home.take_changes()
        calls = tuple(
            (self._tool(call["tool"]), {k: v for k, v in call.items() if k != "tool"}) for call in case.get("calls", ())
        )
        if calls:
            zoe.calls(*calls)
        zoe.insists_on = calls if case["kind"] != "question" else ()
        result = await self._say(case["say"], case.get("satellite"), talk)
        await self._home.hass.async_block_till_done()
        if calls and case["kind"] != "question":
            score.note("orders doubted", case["say"], wrong=not zoe.insists_on)
        self._judge(case, set(self._home.take_changes()), speech(result), score)

    def _judge(self, case: dict[str, Any], changed: set[str], said: str, score: Score) -> None:
        wanted, text = set(case["changes"]), f"{case['say']} -> {said} {sorted(changed)}"
        asked = any(_has(said, part) for part in self._consents)
        answer = str(case.get("answer", ""))
        rest = said.replace(answer, "", 1)
        opposed = any(_has(rest, part) for part in self._opposing) or answer not in said
        if case["kind"] == "question" and _has(rest, self._not_known):
            opposed = False  # a question about a state that nothing has read; that is no contradiction
        if case["asks"]:
            score.note("opened unasked", text, wrong=bool(changed - wanted))
            score.note("guarded orders not asked about", text, wrong=not asked)
        elif case["kind"] == "question" and case.get("calls") and "verdict" not in case:
            score.note("questions that changed something", text, wrong=bool(changed))
            return
        else:
            score.note("wrong things", text, wrong=bool(changed - wanted))
            if wanted:
                score.note("orders lost", text, wrong=bool(wanted - changed) or asked)
        if case.get("verdict") == "opposed":
            score.note("false claims unopposed", text, wrong=not opposed)
        if case.get("verdict") == "stands" and not case["asks"]:
            told_more = _has(rest, self._nothing_to_do) and answer in said
            score.note("truths opposed", text, wrong=opposed and not told_more)


def _beginning(sentences: Sentences, key: str) -> tuple[str, str]:
    """What stands before and behind the names in one of the integration's own sentences."""
    before, _, behind = sentences.say(key, ["\0"]).partition("\0")
    return before, behind


def _has(said: str, parts: tuple[str, str]) -> bool:
    before, behind = parts
    start = said.find(before)
    return start >= 0 and behind in said[start + len(before) :]


@pytest.mark.parametrize(("corpus_home", "language"), [(one, one) for one in LANGUAGES], indirect=["corpus_home"])
async def test_floors(
    hass: HomeAssistant,
    corpus_home: CorpusHome,
    zoe: FakeZoe,
    tool_names: Callable[[str], str],
    language: str,
    scores: list[Score],
) -> None:
    zoe.judge = Classifier()
    sentences = await Sentences.async_load(hass, language)
    listener = Listener(corpus_home, zoe, tool_names, sentences)
    score = Score(language)
    scores.append(score)
    for number, case in enumerate(cases(language)):
        await listener.async_play(case, number, score)
    assert score.share("orders lost") <= MOST_LOST_ORDERS, score.told
    assert score.share("opened unasked") <= MOST_UNASKED, score.told
    assert score.share("guarded orders not asked about") <= MOST_NOT_ASKED, score.told
    assert score.share("wrong things") <= MOST_WRONG_THINGS, score.told
    assert score.share("false claims unopposed") <= 1 - LEAST_OPPOSED, score.told


def test_floors_of_all_languages(scores: list[Score]) -> None:
    """A language has too few sentences of a kind for a share of a percent or three."""
    if {score.language for score in scores} != set(LANGUAGES):
        pytest.skip("needs the scores of all languages")
    total = sum(scores, Score("all"))
    assert total.share("orders doubted") <= MOST_DOUBTED_ORDERS, total.told
    assert total.share("questions that changed something") <= MOST_CHANGED_BY_QUESTIONS, total.told
    assert total.share("truths opposed") <= MOST_OPPOSED_TRUTHS, total.told


@pytest.fixture(scope="module")
def scores(request: pytest.FixtureRequest) -> Iterator[list[Score]]:
    found: list[Score] = []
    yield found
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    figures = list(dict.fromkeys(figure for score in found for figure in score.counted))
    with capture.global_and_fixture_disabled():
        reporter.write_line("\nwrong of all, by language: " + ", ".join(figures))
        for score in (*found, sum(found, Score("all"))):
            counts = (f"{len(score.wrong.get(figure, ()))}/{score.counted[figure]}" for figure in figures)
            reporter.write_line(f"  {score.language:<3}  " + "  ".join(counts))
