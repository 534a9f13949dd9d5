"""Compression by a language model behind an OpenAI-compatible address; whoever calls has another way when it fails."""

import json
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from carmenta_lab.errors import CarmentaError, UsageError
from carmenta_lab.settings import Settings

MAX_ANSWER_BYTES = 1_000_000
INSTRUCTION = (
    "Shorten the message to at most {limit} tokens. Keep names, numbers, dates, decisions, and what helps to answer "
    "the question. Answer in the message's language with the shortened message and nothing else."
)


class EndpointFailed(CarmentaError):
    """The language model could not be reached, or answered something else."""


@dataclass(frozen=True)
class Endpoint:
    """Where chat completions are asked for."""

    url: str  # the base, as in "http://127.0.0.1:8080/v1"
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 20.0

    def shorten(self, text: str, limit_tokens: int, question: str) -> str:
        """The model's shorter text; EndpointFailed says why there is none. At temperature 0, with a fixed seed."""
        asked = f"Question: {question}\n\nMessage:\n{text}"
        body = {
            "model": self.model,
            "temperature": 0,
            "seed": 7,
            "messages": [
                {"role": "system", "content": INSTRUCTION.format(limit=limit_tokens)},
                {"role": "user", "content": asked},
            ],
        }
        answer = self._post(f"{self.url.rstrip('/')}/chat/completions", body)
        try:
            said = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            said = None
        if not isinstance(said, str) or not said.strip():
            raise EndpointFailed(f"{self.url} answered without choices[0].message.content.")
        return said.strip()

    def _post(self, url: str, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310  # the scheme was checked
        try:
            with urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                return json.loads(response.read(MAX_ANSWER_BYTES))
        except HTTPError as error:
            error.close()
            raise EndpointFailed(f"{self.url} answered {error.code} {error.reason}.") from None
        except URLError as error:
            raise EndpointFailed(f"{self.url} cannot be reached: {error.reason}.") from None
        except (OSError, HTTPException) as error:
            raise EndpointFailed(f"{self.url} cannot be reached: {error}.") from None
        except ValueError:
            raise EndpointFailed(f"{self.url} answered something that is no JSON.") from None


def endpoint_of(settings: Settings) -> Endpoint | None:
    """The endpoint that the environment names; None when it names none. UsageError when it is no http address."""
    if settings.llm_url is None:
        return None
    parts = urlsplit(settings.llm_url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"CARMENTA_LLM_URL must be the base address of an OpenAI-compatible API, such as "
            f"http://127.0.0.1:8080/v1, not {settings.llm_url!r}."
        )
    if not settings.llm_model:
        raise UsageError("CARMENTA_LLM_URL is set: name the model in CARMENTA_LLM_MODEL as well.")
    key = settings.llm_key.get_secret_value() if settings.llm_key else ""
    return Endpoint(settings.llm_url, settings.llm_model, key)
