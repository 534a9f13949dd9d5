"""Which characters are letters, accents and seams between words, and which stop words have accents?"""

LANGUAGES = {
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "sv": "swedish",
}
"""ISO 639-1 code -> text-search configuration; any other code is searched with 'simple'."""

INDEXED_CHARACTERS = 200_000
"""Only so much of one text is indexed for search: a tsvector holds at most 1 MB of lexemes."""

STOP = {
    "da": ("og", "når|også|på|sådan|være|været"),
    "de": ("und", "daß|für|können|könnte|während|würde|würden|über"),
    "es": (
        "de",
        "estará|estarán|estarás|estaré|estaréis|estaría|estaríais|estaríamos|estarían|estarías|estuviéramos|"
        "estuviésemos|estábamos|estáis|están|estéis|estén|estés|fuéramos|fuésemos|habrá|habrán|habrás|habré|"
        "habréis|habría|habríais|habríamos|habrían|habrías|habéis|había|habíais|habíamos|habían|habías|hayáis|"
        "hubiéramos|hubiésemos|más|mía|mías|mío|míos|será|serán|serás|seré|seréis|sería|seríais|seríamos|serían|"
        "serías|seáis|sí|también|tendrá|tendrán|tendrás|tendré|tendréis|tendría|tendríais|tendríamos|tendrían|"
        "tendrías|tengáis|tenéis|tenía|teníais|teníamos|tenían|tenías|tuviéramos|tuviésemos|éramos",
    ),
    "fi": (
        "ja",
        "eivät|että|heidän|heidät|heillä|heiltä|heissä|heistä|heitä|hän|häneen|hänelle|hänellä|häneltä|hänen|"
        "hänessä|hänestä|hänet|häntä|keillä|keiltä|keinä|keissä|keistä|keitä|kenellä|keneltä|kenenä|kenessä|"
        "kenestä|ketkä|ketä|meidän|meidät|meillä|meiltä|meissä|meistä|meitä|mikä|millä|miltä|minkä|minä|missä|"
        "mistä|mitkä|mitä|niillä|niiltä|niinä|niissä|niistä|niitä|näiden|näihin|näiksi|näille|näillä|näiltä|"
        "näinä|näissä|näistä|näitä|nämä|sekä|siinä|siitä|sillä|siltä|sinä|sitä|tallä|teidän|teidät|teillä|teiltä|"
        "teissä|teistä|teitä|tuotä|tähän|täksi|tälle|tältä|tämä|tämän|tänä|tässä|tästä|tätä",
    ),
    "fr": (
        "et",
        "eûmes|eûtes|fûmes|fûtes|même|à|étaient|étais|était|étant|étante|étantes|étants|étiez|étions|été|étée|"
        "étées|étés|êtes",
    ),
    "it": ("e", "avrà|avrò|farà|farò|perché|più|sarà|sarò|starà|starò"),
    "no": ("og", "både|båe|hjå|nå|når|også|på|sjøl|så|sånn|være|vært|å"),
    "pt": (
        "de",
        "até|estivéramos|estivéssemos|estávamos|estão|fôramos|fôssemos|houverão|houveríamos|houvéramos|"
        "houvéssemos|há|hão|já|não|será|serão|seríamos|são|só|também|terá|terão|teríamos|tivéramos|tivéssemos|"
        "tínhamos|você|vocês|éramos",
    ),
    "sv": ("och", "där|då|från|för|när|någon|något|några|på|själv|så|sådan|sådana|sådant|varför|än|är|åt|över"),
}
"""Language -> a stop word without accents, and those stop words that their accents tell from other words."""

NOT_STOP = {
    "da": "allé|hår|hån|mød|nøgle|skål|søm|ånden|øver",
    "de": "änder[ens]?",
    "es": "entré|teñid[ao]s?|té|uña",
    "fr": "dés?|dû|maïs|né|sûr",
    "it": "dì",
    "no": "allé|hår|hån|møt|skål|søm|sømme|øver",
    "pt": "dó|más|nó|pará|pêlos?|pôr|séria|tevê",
    "sv": "hår|hån|mån|män|möt|söm|värt|öm",
}
"""Language -> a pattern of words that without their accents would be stop words: they keep them."""

NON_STARTERS = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f"
    r"\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07eb-\u07f3\u07fd"
    r"\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff"
    r"\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c-\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c\u0c4d-\u0c56"
    r"\u0cbc\u0ccd\u0d3b-\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ecb\u0f18-\u0f19\u0f35"
    r"\u0f37\u0f39\u0f71-\u0f84\u0f86-\u0f87\u0fc6\u1037-\u103a\u108d\u135d-\u135f\u1714-\u1715\u1734\u17d2\u17dd"
    r"\u18a9\u1939-\u193b\u1a17-\u1a18\u1a60-\u1a7f\u1ab0-\u1ace\u1b34-\u1b44\u1b6b-\u1b73\u1baa-\u1bab"
    r"\u1be6-\u1bf3\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced\u1cf4\u1cf8-\u1cf9\u1dc0-\u1dff\u20d0-\u20f0"
    r"\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099-\u309a\ua66f\ua674-\ua67d\ua69e-\ua69f\ua6f0-\ua6f1"
    r"\ua806\ua82c\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3-\ua9c0\uaab0\uaab2-\uaab4\uaab7-\uaab8\uaabe-\uaabf"
    r"\uaac1\uaaf6\uabed\ufb1e\ufe20-\ufe2f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d-\U00010a0f"
    r"\U00010a38-\U00010a3f\U00010ae5-\U00010ae6\U00010d24-\U00010d27\U00010eab-\U00010eac\U00010f46-\U00010f50"
    r"\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9-\U000110ba\U00011100-\U00011102"
    r"\U00011133-\U00011134\U00011173\U000111c0\U000111ca\U00011235-\U00011236\U000112e9-\U000112ea"
    r"\U0001133b-\U0001133c\U0001134d\U00011366-\U00011374\U00011442-\U00011446\U0001145e\U000114c2-\U000114c3"
    r"\U000115bf-\U000115c0\U0001163f\U000116b6-\U000116b7\U0001172b\U00011839-\U0001183a\U0001193d-\U0001193e"
    r"\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f\U00011d42-\U00011d45\U00011d97"
    r"\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016ff0-\U00016ff1\U0001bc9e\U0001d165-\U0001d169"
    r"\U0001d16d-\U0001d172\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244"
    r"\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6"
    r"\U0001e944-\U0001e94a"
)
"""Marks that a normal form puts in order."""

LETTER = (
    r"A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587"
    r"\u05d0-\u05ea\u0620-\u064a"
)
SMALL, LARGE = "a-zα-ωа-я", "A-ZΑ-ΩА-Я"
SEAM = f"[{LETTER}][0-9]|[0-9][{LETTER}]|[{SMALL}][{SMALL}][{LARGE}]|[{LARGE}][{LARGE}][{SMALL}][{SMALL}]"
"""Where one word without blanks or hyphens has parts: 20km, WhatsApp, HTMLPage; not iPhone, PDFs."""
PART = f"([{LETTER}])(?=[0-9])|([0-9])(?=[{LETTER}])|([{SMALL}])(?=[{LARGE}])|([{LARGE}])(?=[{LARGE}][{SMALL}])"

UNSPACED = (
    r"\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    r"\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f"
    r"\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts written without blanks between words, and Hangul."""

CUTTING = r"[-/\\_.@&<>+*~#=\u0025^|$:\u2010\u2011\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]+"
"""What the parser would read as a part of a path, an address, a sign or a tag."""

PLAIN = (
    r"\u0001-\u007f\u00a0-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b6\u00b7\u00bb\u00bf\u00d7\u2012-\u2027"
    r"\u2030-\u203b\u20ac\u2190-\u21ff\u2600-\u27bf\U0001f300-\U0001f9ff"
)
"""What has one form only and no accent."""
LATIN = r"\u00c0-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e"
FOLDED = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640"
    r"\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
)
"""Accents of Latin, Greek and Cyrillic letters, Hebrew points, Arabic vowel signs and lengthening."""
LETTERS = {
    "ß": "ss",
    "ẞ": "SS",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "ł": "l",
    "Ł": "L",
    "þ": "th",
    "Þ": "TH",
    "ħ": "h",
    "Ħ": "H",
    "ı": "i",
    "ŋ": "n",
}
SPECIAL = (
    r"[^\u0001-\u007f]|[-+/_@<&\\]|[.,''][0-9]|\.[A-Za-z]|[A-Za-z][0-9]|[0-9][A-Za-z]|[a-z][a-z][A-Z]|[A-Z][A-Z"
    r"][a-z][a-z]"
)

JOINERS = r"\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\ufeff"
GROUPED = "(?<=[0-9])[.,''](?=[0-9]{3}(?:[^0-9]|$))"
"""What parts thousands: 1,250.50 and 1.250,50."""
NUMBER = "[0-9]+(?:[.,][0-9]+)+"
SEAMED = f"[{LETTER}0-9]*(?:{SEAM})[{LETTER}0-9]*"
AND_BLANK = r"\1\2\3\4 "
HYPHEN, HYPHENS = r"-\u2010\u2011", r"E'-\u2010\u2011'"
BESIDE = f"(?<=[{UNSPACED}])(?=[{LETTER}0-9])|(?<=[{LETTER}0-9])(?=[{UNSPACED}])"
"""Between a script without blanks and one with."""
