"""Explanations in a language model's words: what is asked of it, and what is let through."""

import json
from collections.abc import Iterator

import pytest
from chorale_generation.providers import ProviderNotConfigured, ProviderUnavailable
from chorale_generation.servicer.rephrasing import Access, Rephraser
from language_model import LanguageModel

pytestmark = pytest.mark.asyncio(loop_scope="session")

FACTS = "Track 1 runs at 120.00 BPM. The result is in A minor, at -14.0 LUFS."


@pytest.fixture
def asked(language_model: LanguageModel) -> Iterator[LanguageModel]:
    """The model, as it is after every test."""
    language_model.requests.clear()
    yield language_model
    language_model.answer, language_model.status = None, 200


def rephraser(model: LanguageModel, timeout_seconds: float = 10.0) -> Rephraser:
    """Asks that model."""
    return Rephraser(Access(model.url, "tiny", "secret"), timeout_seconds)


async def test_a_language_model_gives_other_words_for_the_same_facts(asked: LanguageModel) -> None:
    """It is given the facts, the language and the key, and its text is taken."""
    asked.answer = "Your first track has 120,00 beats a minute; A minor, -14.0 LUFS."
    said, refused = await rephraser(asked).rephrased(FACTS, "de")
    assert (said, refused) == (asked.answer, "")
    ((headers, body),) = asked.requests
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "tiny"
    assert body["messages"][1]["content"] == FACTS
    assert " de." in body["messages"][0]["content"]


@pytest.mark.parametrize(
    "text", ["It has 121 BPM.", "It has \u0661\u0662\u0661 BPM.", "", "x" * 8001]
)
async def test_what_no_fact_says_is_not_let_through(asked: LanguageModel, text: str) -> None:
    """Other numbers, in whatever digits, nothing at all and endless texts: facts stay, and why."""
    asked.answer = text
    said, refused = await rephraser(asked).rephrased(FACTS, "en")
    assert said == FACTS
    assert refused


async def test_a_language_model_that_does_not_answer_is_said(asked: LanguageModel) -> None:
    """Not configured, refused, sent elsewhere with the key, too late, no JSON, and not there."""
    with pytest.raises(ProviderNotConfigured) as caught:
        await Rephraser(Access()).rephrased(FACTS, "en")
    assert "CHORALE_OPENAI_URL" in caught.value.remedy

    async def state(model: Rephraser) -> str:
        with pytest.raises(ProviderUnavailable) as caught:
            await model.rephrased(FACTS, "en")
        return caught.value.state

    for status in (401, 307, 503):
        asked.status = status
        assert await state(rephraser(asked)) == f"HTTP {status}"
    assert len(asked.requests) == 3
    asked.status, asked.delay_seconds = 200, 0.4
    assert await state(rephraser(asked, 0.1)) == "timeout"
    asked.delay_seconds = 0.0
    asked.raw = b"<html>"
    assert await state(rephraser(asked)) == "an answer that is no JSON"
    asked.raw = json.dumps({"choices": []}).encode()
    assert await state(rephraser(asked)) == "an answer without a text"
    asked.raw = b""
    assert asked.answer is None
    assert await state(rephraser(asked)) == "an answer without a text"
    assert await state(Rephraser(Access("http://127.0.0.1:9", "tiny"))) == "down"
