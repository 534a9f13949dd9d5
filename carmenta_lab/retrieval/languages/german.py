"""Reading German questions."""

from carmenta_lab.retrieval.languages.rules import Rules

_DAY = "(montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag)"
_MONTH = "(januar|februar|märz|april|juni|juli|august|september|oktober|november|dezember)"
_SPAN = "(tag|tagen|woche|wochen|wochenende|monat|monaten|monate|jahr|jahren|jahre|nacht|stunden|minuten)"

RULES = Rules(
    months=(
        ("januar",),
        ("februar",),
        ("märz",),
        ("april",),
        ("mai",),
        ("juni",),
        ("juli",),
        ("august",),
        ("september",),
        ("oktober",),
        ("november",),
        ("dezember",),
    ),
    question_words=frozenset(
        ("eigentlich", "denn", "mal", "wohl", "gerade", "wieso", "weshalb", "wofür", "woran", "worin", "worum", "wovon")
    ),
    when=(
        r"^\s*(wann|seit wann|bis wann|ab wann|wie lange|um wie viel uhr"
        r"|(an|in) welche[mrn]? (tag|monat|jahr|woche))\y"
    ),
    time=(
        r"\y(gestern|vorgestern|heute|morgen|übermorgen|neulich|kürzlich|vor [^ ]+ "
        + _SPAN
        + rf"|(letzte|nächste|diese|vorige)[mnrs]? ({_SPAN}|{_DAY})|(seit|in) (19|20)[0-9]{{2}}|{_MONTH}|{_DAY}"
        + r"|[0-9]{1,2}(:[0-9]{2})? ?uhr|[0-9]{1,2}\.)(\y|(?=\s))"
    ),
    addressed=r"\y(du|dir|dich|dein|deine|deinen|deiner|sie|ihnen|ihr|ihre)\y",
    possessive="['’]?s",
)
