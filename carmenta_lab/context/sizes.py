"""How many tokens does each text of a context take? Counted once, also where a text is shown under several heads."""

from collections.abc import Iterable

from carmenta_lab.context.counter import Counter


class Sizes:
    """Tokens by text: asks the counter for unknown texts only, many at a time.

    Kept over several contexts, it counts what they share once. Without the counter's overhead per block.
    """

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self._known: dict[str, int] = {"": 0}

    def remember(self, text: str, tokens: int) -> None:
        """What was counted before."""
        self._known[text] = tokens

    def count(self, texts: Iterable[tuple[str, str]]) -> None:
        """Count every (head, body) that `of` will be asked for, in one call."""
        wanted = [part for head, body in texts for part in self._parts(head, body)]
        new = [text for text in dict.fromkeys(wanted) if text not in self._known]
        if new:
            self._known.update(zip(new, self.counter.count(new), strict=True))

    def of(self, head: str, body: str) -> int:
        """Tokens of a block that shows `body` after `head`; counted now if it was not."""
        known = self._known
        try:
            return known[head] + known[body] if self.counter.additive else known[head + body]
        except KeyError:
            self.count([(head, body)])
            return self.of(head, body)

    def _parts(self, head: str, body: str) -> tuple[str, ...]:
        """Where counts do not simply add up, a text under a head is a text of its own."""
        return (head, body) if self.counter.additive else (head + body,)
