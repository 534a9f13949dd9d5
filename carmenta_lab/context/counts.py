"""Keep what was counted, so that no message is counted twice for one counter."""

from collections.abc import Iterable
from hashlib import md5
from uuid import UUID

from sqlalchemy.orm import Session

from carmenta_lab.context.material import Material
from carmenta_lab.context.sizes import Sizes
from carmenta_lab.postgres.statement import Change

_KEEP = Change("""
    INSERT INTO carmenta.token_counts AS t (user_id, message_id, counter, tokens, content_hash)
    SELECT %(user_id)s, n.id, %(counter)s, n.tokens, hashtextextended(m.content, 0)
    FROM unnest(%(ids)s::uuid[], %(tokens)s::int[], %(digests)s::text[]) AS n (id, tokens, digest)
    JOIN (SELECT id, content FROM carmenta.messages WHERE user_id = %(user_id)s AND id = ANY(%(ids)s) FOR KEY SHARE) m
    ON m.id = n.id AND md5(m.content) = n.digest
    ON CONFLICT (user_id, message_id, counter)
    DO UPDATE SET tokens = excluded.tokens, content_hash = excluded.content_hash
    WHERE t.content_hash <> excluded.content_hash
""")
"""A message that went or changed since it was read gets no count; a count of its earlier text is replaced."""


def uncounted(material: Material) -> list[tuple[UUID, str]]:
    """Messages whose whole text was read and has no stored count, each with its text."""
    said = [(one.ids[0], one.text) for one in material.said if one.text is not None and one.tokens is None]
    hits = [(one.id, one.says) for one in material.found if one.whole and one.tokens is None]
    return list(dict([*hits, *said]).items())


def keep_counts(session: Session, user_id: UUID, messages: Iterable[tuple[UUID, str]], sizes: Sizes) -> None:
    """Store the tokens of messages that the counter has counted; one statement, none where there is nothing new."""
    every = list(messages)
    if not every:
        return
    sizes.count(("", text) for _, text in every)
    values = {
        "user_id": user_id,
        "counter": sizes.counter.name,
        "ids": [key for key, _ in every],
        "tokens": [sizes.of("", text) for _, text in every],
        "digests": [md5(text.encode(), usedforsecurity=False).hexdigest() for _, text in every],
    }
    _KEEP.count(session, values)
