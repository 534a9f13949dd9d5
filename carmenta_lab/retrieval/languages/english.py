"""Reading English questions."""

from carmenta_lab.retrieval.languages.rules import Rules

_UNIT = "(day|week|weekend|month|year|hour|minute)"
_NAMED = (
    "(night|week|weekend|month|year|morning|summer|winter|spring|fall|autumn|"
    "monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
)
_COUNT = "(a|an|one|two|three|four|five|six|seven|eight|nine|ten|few|couple of|[0-9]+)"
_MONTH = "(january|february|march|april|june|july|august|september|october|november|december)"
_DAY = "(monday|tuesday|wednesday|thursday|friday|saturday|sunday)"

RULES = Rules(
    months=(
        ("january", "jan"),
        ("february", "feb"),
        ("march",),
        ("april", "apr"),
        ("may",),
        ("june", "jun"),
        ("july", "jul"),
        ("august", "aug"),
        ("september", "sept", "sep"),
        ("october", "oct"),
        ("november", "nov"),
        ("december", "dec"),
    ),
    common_months=frozenset(("march", "may")),
    question_words=frozenset(
        ("would", "could", "might", "may", "must", "shall", "many", "much", "kind", "sort", "type", "ever")
    ),
    when=(
        r"^\s*(when|since when|how long|(in |on )?(what|which) (date|day|month|year|time|week)|what time)\y"
        r"|\ywhen (did|was|were|is|will|do|does|have|has|had)\y"
    ),
    time=(
        r"\y(yesterday|today|tonight|tomorrow|recently|lately|ago|(last|next|this) "
        + _NAMED
        + rf"|{_COUNT} {_UNIT}s? (ago|from now)|(since|in) (19|20)[0-9]{{2}}|{_MONTH}|{_DAY}"
        + r"|[0-9]{1,2}(:[0-9]{2})? ?(am|pm)|[0-9]{1,2}(st|nd|rd|th))\y"
    ),
    addressed=r"\y(you|your)\y",
    possessive="['’]s",
)
