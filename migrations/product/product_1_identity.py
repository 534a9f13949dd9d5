"""Who the data belongs to: users, how they sign in, what they connected, and how they want to be served."""

from alembic import op

revision = "product_1"
down_revision = None
branch_labels = ("product",)


def upgrade() -> None:
    op.execute(
        r"""
        CREATE FUNCTION carmenta.current_user_id() RETURNS uuid
        LANGUAGE sql STABLE PARALLEL SAFE
        RETURN nullif(current_setting('carmenta.user_id', true), '')::uuid
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.current_user_id() IS 'For whom the transaction acts; put the host''s own in its place where it has one.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.composed(content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                t text := content;
            BEGIN
                IF t ~ '[^\u0001-\u007f\u00a0-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b6\u00b7\u00bb\u00bf\u00d7\u2012-\u2027\u2030-\u203b\u20ac\u2190-\u21ff\u2600-\u27bf\U0001f300-\U0001f9ff\u00c0-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e]' THEN
                    IF t ~ '[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c-\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c\u0c4d-\u0c56\u0cbc\u0ccd\u0d3b-\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ecb\u0f18-\u0f19\u0f35\u0f37\u0f39\u0f71-\u0f84\u0f86-\u0f87\u0fc6\u1037-\u103a\u108d\u135d-\u135f\u1714-\u1715\u1734\u17d2\u17dd\u18a9\u1939-\u193b\u1a17-\u1a18\u1a60-\u1a7f\u1ab0-\u1ace\u1b34-\u1b44\u1b6b-\u1b73\u1baa-\u1bab\u1be6-\u1bf3\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced\u1cf4\u1cf8-\u1cf9\u1dc0-\u1dff\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099-\u309a\ua66f\ua674-\ua67d\ua69e-\ua69f\ua6f0-\ua6f1\ua806\ua82c\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3-\ua9c0\uaab0\uaab2-\uaab4\uaab7-\uaab8\uaabe-\uaabf\uaac1\uaaf6\uabed\ufb1e\ufe20-\ufe2f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d-\U00010a0f\U00010a38-\U00010a3f\U00010ae5-\U00010ae6\U00010d24-\U00010d27\U00010eab-\U00010eac\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9-\U000110ba\U00011100-\U00011102\U00011133-\U00011134\U00011173\U000111c0\U000111ca\U00011235-\U00011236\U000112e9-\U000112ea\U0001133b-\U0001133c\U0001134d\U00011366-\U00011374\U00011442-\U00011446\U0001145e\U000114c2-\U000114c3\U000115bf-\U000115c0\U0001163f\U000116b6-\U000116b7\U0001172b\U00011839-\U0001183a\U0001193d-\U0001193e\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f\U00011d42-\U00011d45\U00011d97\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016ff0-\U00016ff1\U0001bc9e\U0001d165-\U0001d169\U0001d16d-\U0001d172\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6\U0001e944-\U0001e94a]{24}' THEN  -- putting n of them in order takes a time of n * n
                        t := regexp_replace(t, '([\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c-\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c\u0c4d-\u0c56\u0cbc\u0ccd\u0d3b-\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ecb\u0f18-\u0f19\u0f35\u0f37\u0f39\u0f71-\u0f84\u0f86-\u0f87\u0fc6\u1037-\u103a\u108d\u135d-\u135f\u1714-\u1715\u1734\u17d2\u17dd\u18a9\u1939-\u193b\u1a17-\u1a18\u1a60-\u1a7f\u1ab0-\u1ace\u1b34-\u1b44\u1b6b-\u1b73\u1baa-\u1bab\u1be6-\u1bf3\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced\u1cf4\u1cf8-\u1cf9\u1dc0-\u1dff\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099-\u309a\ua66f\ua674-\ua67d\ua69e-\ua69f\ua6f0-\ua6f1\ua806\ua82c\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3-\ua9c0\uaab0\uaab2-\uaab4\uaab7-\uaab8\uaabe-\uaabf\uaac1\uaaf6\uabed\ufb1e\ufe20-\ufe2f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d-\U00010a0f\U00010a38-\U00010a3f\U00010ae5-\U00010ae6\U00010d24-\U00010d27\U00010eab-\U00010eac\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9-\U000110ba\U00011100-\U00011102\U00011133-\U00011134\U00011173\U000111c0\U000111ca\U00011235-\U00011236\U000112e9-\U000112ea\U0001133b-\U0001133c\U0001134d\U00011366-\U00011374\U00011442-\U00011446\U0001145e\U000114c2-\U000114c3\U000115bf-\U000115c0\U0001163f\U000116b6-\U000116b7\U0001172b\U00011839-\U0001183a\U0001193d-\U0001193e\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f\U00011d42-\U00011d45\U00011d97\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016ff0-\U00016ff1\U0001bc9e\U0001d165-\U0001d169\U0001d16d-\U0001d172\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6\U0001e944-\U0001e94a]{24})[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7-\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b\u0898-\u089f\u08ca-\u08e1\u08e3-\u08ff\u093c\u094d\u0951-\u0954\u09bc\u09cd\u09fe\u0a3c-\u0a4d\u0abc\u0acd\u0b3c\u0b4d\u0bcd\u0c3c\u0c4d-\u0c56\u0cbc\u0ccd\u0d3b-\u0d3c\u0d4d\u0dca\u0e38-\u0e3a\u0e48-\u0e4b\u0eb8-\u0eba\u0ec8-\u0ecb\u0f18-\u0f19\u0f35\u0f37\u0f39\u0f71-\u0f84\u0f86-\u0f87\u0fc6\u1037-\u103a\u108d\u135d-\u135f\u1714-\u1715\u1734\u17d2\u17dd\u18a9\u1939-\u193b\u1a17-\u1a18\u1a60-\u1a7f\u1ab0-\u1ace\u1b34-\u1b44\u1b6b-\u1b73\u1baa-\u1bab\u1be6-\u1bf3\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced\u1cf4\u1cf8-\u1cf9\u1dc0-\u1dff\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302f\u3099-\u309a\ua66f\ua674-\ua67d\ua69e-\ua69f\ua6f0-\ua6f1\ua806\ua82c\ua8c4\ua8e0-\ua8f1\ua92b-\ua92d\ua953\ua9b3-\ua9c0\uaab0\uaab2-\uaab4\uaab7-\uaab8\uaabe-\uaabf\uaac1\uaaf6\uabed\ufb1e\ufe20-\ufe2f\U000101fd\U000102e0\U00010376-\U0001037a\U00010a0d-\U00010a0f\U00010a38-\U00010a3f\U00010ae5-\U00010ae6\U00010d24-\U00010d27\U00010eab-\U00010eac\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011046\U00011070\U0001107f\U000110b9-\U000110ba\U00011100-\U00011102\U00011133-\U00011134\U00011173\U000111c0\U000111ca\U00011235-\U00011236\U000112e9-\U000112ea\U0001133b-\U0001133c\U0001134d\U00011366-\U00011374\U00011442-\U00011446\U0001145e\U000114c2-\U000114c3\U000115bf-\U000115c0\U0001163f\U000116b6-\U000116b7\U0001172b\U00011839-\U0001183a\U0001193d-\U0001193e\U00011943\U000119e0\U00011a34\U00011a47\U00011a99\U00011c3f\U00011d42-\U00011d45\U00011d97\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016ff0-\U00016ff1\U0001bc9e\U0001d165-\U0001d169\U0001d16d-\U0001d172\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6\U0001e944-\U0001e94a]+', '\1', 'g');
                    END IF;
                    t := normalize(regexp_replace(t, '[\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]+', '', 'g'), NFKC);
                END IF;
                RETURN t;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.composed(text) IS 'A text in the form NFKC, without joiners and soft hyphens.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.folded(language text, content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                stop_words text;
                t text := content;
            BEGIN
                IF t !~ '[^\u0001-\u007f\u00a0-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b6\u00b7\u00bb\u00bf\u00d7\u2012-\u2027\u2030-\u203b\u20ac\u2190-\u21ff\u2600-\u27bf\U0001f300-\U0001f9ff]' THEN
                    RETURN t;
                END IF;
                stop_words := CASE language WHEN 'da' THEN '\m(når|også|på|sådan|være|været)\M' WHEN 'de' THEN '\m(daß|für|können|könnte|während|würde|würden|über)\M' WHEN 'es' THEN '\m(estará|estarán|estarás|estaré|estaréis|estaría|estaríais|estaríamos|estarían|estarías|estuviéramos|estuviésemos|estábamos|estáis|están|estéis|estén|estés|fuéramos|fuésemos|habrá|habrán|habrás|habré|habréis|habría|habríais|habríamos|habrían|habrías|habéis|había|habíais|habíamos|habían|habías|hayáis|hubiéramos|hubiésemos|más|mía|mías|mío|míos|será|serán|serás|seré|seréis|sería|seríais|seríamos|serían|serías|seáis|sí|también|tendrá|tendrán|tendrás|tendré|tendréis|tendría|tendríais|tendríamos|tendrían|tendrías|tengáis|tenéis|tenía|teníais|teníamos|tenían|tenías|tuviéramos|tuviésemos|éramos)\M' WHEN 'fi' THEN '\m(eivät|että|heidän|heidät|heillä|heiltä|heissä|heistä|heitä|hän|häneen|hänelle|hänellä|häneltä|hänen|hänessä|hänestä|hänet|häntä|keillä|keiltä|keinä|keissä|keistä|keitä|kenellä|keneltä|kenenä|kenessä|kenestä|ketkä|ketä|meidän|meidät|meillä|meiltä|meissä|meistä|meitä|mikä|millä|miltä|minkä|minä|missä|mistä|mitkä|mitä|niillä|niiltä|niinä|niissä|niistä|niitä|näiden|näihin|näiksi|näille|näillä|näiltä|näinä|näissä|näistä|näitä|nämä|sekä|siinä|siitä|sillä|siltä|sinä|sitä|tallä|teidän|teidät|teillä|teiltä|teissä|teistä|teitä|tuotä|tähän|täksi|tälle|tältä|tämä|tämän|tänä|tässä|tästä|tätä)\M' WHEN 'fr' THEN '\m(eûmes|eûtes|fûmes|fûtes|même|à|étaient|étais|était|étant|étante|étantes|étants|étiez|étions|été|étée|étées|étés|êtes)\M' WHEN 'it' THEN '\m(avrà|avrò|farà|farò|perché|più|sarà|sarò|starà|starò)\M' WHEN 'no' THEN '\m(både|båe|hjå|nå|når|også|på|sjøl|så|sånn|være|vært|å)\M' WHEN 'pt' THEN '\m(até|estivéramos|estivéssemos|estávamos|estão|fôramos|fôssemos|houverão|houveríamos|houvéramos|houvéssemos|há|hão|já|não|será|serão|seríamos|são|só|também|terá|terão|teríamos|tivéramos|tivéssemos|tínhamos|você|vocês|éramos)\M' WHEN 'sv' THEN '\m(där|då|från|för|när|någon|något|några|på|själv|så|sådan|sådana|sådant|varför|än|är|åt|över)\M' ELSE NULL END;
                IF stop_words IS NOT NULL THEN
                    t := regexp_replace(t, stop_words, CASE language WHEN 'da' THEN 'og' WHEN 'de' THEN 'und' WHEN 'es' THEN 'de' WHEN 'fi' THEN 'ja' WHEN 'fr' THEN 'et' WHEN 'it' THEN 'e' WHEN 'no' THEN 'og' WHEN 'pt' THEN 'de' WHEN 'sv' THEN 'och' ELSE NULL END, 'gi');
                END IF;
                t := regexp_replace(normalize(t, NFKD), '[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]+', '', 'g');
                IF t ~ '[^\u0001-\u007f\u00a0-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b6\u00b7\u00bb\u00bf\u00d7\u2012-\u2027\u2030-\u203b\u20ac\u2190-\u21ff\u2600-\u27bf\U0001f300-\U0001f9ff\u00c0-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u0370-\u05ff]' THEN
                    t := normalize(t, NFKC);
                END IF;
                IF t ~ '[ßẞæÆœŒøØđĐðÐłŁþÞħĦıŋ]' THEN
                    t := replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(t, 'ß', 'ss'), 'ẞ', 'SS'), 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE'), 'ø', 'o'), 'Ø', 'O'), 'đ', 'd'), 'Đ', 'D'), 'ð', 'd'), 'Ð', 'D'), 'ł', 'l'), 'Ł', 'L'), 'þ', 'th'), 'Þ', 'TH'), 'ħ', 'h'), 'Ħ', 'H'), 'ı', 'i'), 'ŋ', 'n');
                END IF;
                RETURN t;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.folded(text, text) IS 'A composed text without accents; stop words with accents have become one without.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.spaced(content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                t text := content;
            BEGIN
                IF t ~ '[0-9][.,''][0-9]{3}' THEN
                    t := regexp_replace(t, '(?<=[0-9])[.,''](?=[0-9]{3}(?:[^0-9]|$))', '', 'g');
                END IF;
                t := regexp_replace(t, '[-/\\_.@&<>+*~#=\u0025^|$:\u2010\u2011\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]+', ' ', 'g');
                IF t ~ '[\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]' THEN
                    t := regexp_replace(t, '(?<=[\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])(?=[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9])|(?<=[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9])(?=[\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])', ' ', 'g');
                    t := regexp_replace(t, '(?<=[\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])([\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])(?=[\u0e01-\u0e5b\u0e80-\u0edf\u1000-\u109f\u1100-\u11ff\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff])', '\1 \1', 'g');
                END IF;
                RETURN t;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.spaced(text) IS 'A folded text with blanks between its words; scripts without blanks in pairs of characters.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.other_words(language text, composed text, folded text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                kept text := CASE language WHEN 'da' THEN '\m(allé|hår|hån|mød|nøgle|skål|søm|ånden|øver)\M' WHEN 'de' THEN '\m(änder[ens]?)\M' WHEN 'es' THEN '\m(entré|teñid[ao]s?|té|uña)\M' WHEN 'fr' THEN '\m(dés?|dû|maïs|né|sûr)\M' WHEN 'it' THEN '\m(dì)\M' WHEN 'no' THEN '\m(allé|hår|hån|møt|skål|søm|sømme|øver)\M' WHEN 'pt' THEN '\m(dó|más|nó|pará|pêlos?|pôr|séria|tevê)\M' WHEN 'sv' THEN '\m(hår|hån|mån|män|möt|söm|värt|öm)\M' ELSE NULL END;
                found text := '';
            BEGIN
                IF folded ~ '[0-9][.,''][0-9]' THEN
                    found := concat_ws(' ', found,
                        (SELECT string_agg(replace(m[1], ',', '.'), ' ') FROM regexp_matches(regexp_replace(folded, '(?<=[0-9])[.,''](?=[0-9]{3}(?:[^0-9]|$))', '', 'g'), '([0-9]+(?:[.,][0-9]+)+)', 'g') m WHERE length(m[1]) <= 64),
                        (SELECT string_agg(translate(m[1], '.,''', '   '), ' ') FROM regexp_matches(folded, '([0-9]+(?:[.,''][0-9]{3})+)', 'g') m WHERE length(m[1]) <= 64));
                END IF;
                IF folded ~ '[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a][0-9]|[0-9][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a]|[a-zα-ωа-я][a-zα-ωа-я][A-ZΑ-ΩА-Я]|[A-ZΑ-ΩА-Я][A-ZΑ-ΩА-Я][a-zα-ωа-я][a-zα-ωа-я]' THEN
                    found := concat_ws(' ', found,
                        (SELECT string_agg(regexp_replace(m[1], '([A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])(?=[0-9])|([0-9])(?=[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])|([a-zα-ωа-я])(?=[A-ZΑ-ΩА-Я])|([A-ZΑ-ΩА-Я])(?=[A-ZΑ-ΩА-Я][a-zα-ωа-я])', '\1\2\3\4 ', 'g'), ' ') FROM regexp_matches(folded, '([A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]*(?:[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a][0-9]|[0-9][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a]|[a-zα-ωа-я][a-zα-ωа-я][A-ZΑ-ΩА-Я]|[A-ZΑ-ΩА-Я][A-ZΑ-ΩА-Я][a-zα-ωа-я][a-zα-ωа-я])[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]*)', 'g') m WHERE length(m[1]) <= 64));
                END IF;
                IF folded ~ '[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9][-\u2010\u2011][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]' THEN
                    found := concat_ws(' ', found,
                        (SELECT string_agg(translate(m[1], E'-\u2010\u2011', ''), ' ') FROM regexp_matches(folded, '([A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]+(?:[-\u2010\u2011][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]+)+)', 'g') m WHERE length(m[1]) <= 64));
                END IF;
                IF kept IS NOT NULL AND composed ~ '[^\u0001-\u007f]' THEN
                    found := concat_ws(' ', found,
                        (SELECT string_agg(m[1], ' ') FROM regexp_matches(composed, kept, 'gi') m));
                END IF;
                RETURN found;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.other_words(text, text, text) IS 'What is searched beside the words of a text: parts of words, words joined, whole numbers.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.fitting(content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                t text := content;
            BEGIN
                WHILE octet_length(t) > 250000 AND (
                    SELECT sum(octet_length(w) + 6 + 2 * n) FROM (SELECT w, count(*) AS n
                    FROM string_to_table(regexp_replace(t, '\W+', ' ', 'g'), ' ') w GROUP BY w) every
                ) > 1000000 LOOP
                    t := left(t, length(t) * 3 / 4);
                END LOOP;
                RETURN t;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.fitting(text) IS 'As much of a text as a tsvector holds: 1 MB of words, each with its length and two bytes a position.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.cut(language text, content text) RETURNS text
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                one text := carmenta.composed(CASE WHEN octet_length(content) <= 200000 THEN content ELSE left(content, 200000) END);
                plain text := carmenta.folded(language, one);
                words text := carmenta.spaced(plain) || ' ' || carmenta.other_words(language, one, plain);
            BEGIN
                RETURN CASE WHEN octet_length(words) > 250000 THEN carmenta.fitting(words) ELSE words END;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.cut(text, text) IS 'A text as the parser is given it: its words between blanks, then what is searched beside them.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.stems(language text, content text) RETURNS tsvector
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN CASE language WHEN 'da' THEN to_tsvector('pg_catalog.danish'::pg_catalog.regconfig, content) WHEN 'de' THEN to_tsvector('pg_catalog.german'::pg_catalog.regconfig, content) WHEN 'en' THEN to_tsvector('pg_catalog.english'::pg_catalog.regconfig, content) WHEN 'es' THEN to_tsvector('pg_catalog.spanish'::pg_catalog.regconfig, content) WHEN 'fi' THEN to_tsvector('pg_catalog.finnish'::pg_catalog.regconfig, content) WHEN 'fr' THEN to_tsvector('pg_catalog.french'::pg_catalog.regconfig, content) WHEN 'it' THEN to_tsvector('pg_catalog.italian'::pg_catalog.regconfig, content) WHEN 'nl' THEN to_tsvector('pg_catalog.dutch'::pg_catalog.regconfig, content) WHEN 'no' THEN to_tsvector('pg_catalog.norwegian'::pg_catalog.regconfig, content) WHEN 'pt' THEN to_tsvector('pg_catalog.portuguese'::pg_catalog.regconfig, content) WHEN 'sv' THEN to_tsvector('pg_catalog.swedish'::pg_catalog.regconfig, content) ELSE to_tsvector('pg_catalog.simple'::pg_catalog.regconfig, content) END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.stems(text, text) IS 'The words between blanks of a text, without stop words and endings.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.cut_lexemes(language text, content text) RETURNS tsvector
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                words text := carmenta.cut(language, content);
            BEGIN
                RETURN carmenta.stems(language, words);
            END $$
        """
    )
    op.execute("COMMENT ON FUNCTION carmenta.cut_lexemes(text, text) IS 'The words of any text.'")
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.lexemes(language text, content text) RETURNS tsvector
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN CASE WHEN octet_length(content) > 200000 OR content ~ '[^\u0001-\u007f]|[-+/_@<&\\]|[.,''][0-9]|\.[A-Za-z]|[A-Za-z][0-9]|[0-9][A-Za-z]|[a-z][a-z][A-Z]|[A-Z][A-Z][a-z][a-z]'
                THEN carmenta.cut_lexemes(language, content) ELSE carmenta.stems(language, content) END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.lexemes(text, text) IS 'The words of a text or a question as they are searched; the parser alone cuts plain sentences.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.words_joined(words tsvector, operator text) RETURNS tsquery
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            BEGIN
                RETURN coalesce((
                    SELECT string_agg('(' || part || ')', operator) FROM (
                        SELECT string_agg('''' || replace(replace(w, '\', '\\'), '''', '''''') || '''', operator) AS part
                        FROM (
                            SELECT lexeme AS w, (row_number() OVER (ORDER BY positions[1], lexeme) - 1) / 256 AS n
                            FROM unnest(words) ORDER BY positions[1], lexeme LIMIT 1024
                        ) numbered GROUP BY n ORDER BY n
                    ) parts), '')::tsquery;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.words_joined(tsvector, text) IS 'The first 1,024 words joined by | or &: for each of them ts_rank_cd takes 64 kB for every row that it ranks.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.any_word(language text, content text) RETURNS tsquery
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN carmenta.words_joined(carmenta.lexemes(language, content), '|')
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.any_word(text, text) IS 'Whether a text has one of the words of a question of any length.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.phrase(language text, content text) RETURNS tsquery
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN CASE language WHEN 'da' THEN phraseto_tsquery('pg_catalog.danish'::pg_catalog.regconfig, content) WHEN 'de' THEN phraseto_tsquery('pg_catalog.german'::pg_catalog.regconfig, content) WHEN 'en' THEN phraseto_tsquery('pg_catalog.english'::pg_catalog.regconfig, content) WHEN 'es' THEN phraseto_tsquery('pg_catalog.spanish'::pg_catalog.regconfig, content) WHEN 'fi' THEN phraseto_tsquery('pg_catalog.finnish'::pg_catalog.regconfig, content) WHEN 'fr' THEN phraseto_tsquery('pg_catalog.french'::pg_catalog.regconfig, content) WHEN 'it' THEN phraseto_tsquery('pg_catalog.italian'::pg_catalog.regconfig, content) WHEN 'nl' THEN phraseto_tsquery('pg_catalog.dutch'::pg_catalog.regconfig, content) WHEN 'no' THEN phraseto_tsquery('pg_catalog.norwegian'::pg_catalog.regconfig, content) WHEN 'pt' THEN phraseto_tsquery('pg_catalog.portuguese'::pg_catalog.regconfig, content) WHEN 'sv' THEN phraseto_tsquery('pg_catalog.swedish'::pg_catalog.regconfig, content) ELSE phraseto_tsquery('pg_catalog.simple'::pg_catalog.regconfig, content) END
        """
    )
    op.execute("COMMENT ON FUNCTION carmenta.phrase(text, text) IS 'Words between blanks that follow one another.'")
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.forms(language text, word text) RETURNS tsquery
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
            DECLARE
                core text := btrim(word, '.,;:!?()[]{}<>*~#$&@+-''`|^=_' || chr(37));
                found tsquery := carmenta.phrase(language, carmenta.spaced(word));
                number text := substring(core, '[0-9]+(?:[.,][0-9]+)+');
            BEGIN
                IF core ~ '/' THEN
                    RETURN carmenta.words_joined(carmenta.stems(language, carmenta.spaced(core)), '&');
                ELSIF core ~ '^[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]+(?:[-\u2010\u2011][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a0-9]+)*$' THEN
                    IF core ~ '[-\u2010\u2011]' THEN
                        found := found || carmenta.phrase(language, translate(core, E'-\u2010\u2011', ''));
                    END IF;
                    IF core ~ '[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a][0-9]|[0-9][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a]|[a-zα-ωа-я][a-zα-ωа-я][A-ZΑ-ΩА-Я]|[A-ZΑ-ΩА-Я][A-ZΑ-ΩА-Я][a-zα-ωа-я][a-zα-ωа-я]' THEN
                        found := found || carmenta.phrase(
                            language, regexp_replace(carmenta.spaced(core), '([A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])(?=[0-9])|([0-9])(?=[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])|([a-zα-ωа-я])(?=[A-ZΑ-ΩА-Я])|([A-ZΑ-ΩА-Я])(?=[A-ZΑ-ΩА-Я][a-zα-ωа-я])', '\1\2\3\4 ', 'g'));
                    END IF;
                ELSIF number IS NOT NULL AND core ~ '^[A-Za-z]?[0-9]+(?:[.,][0-9]+)+$' THEN
                    number := replace(regexp_replace(number, '(?<=[0-9])[.,''](?=[0-9]{3}(?:[^0-9]|$))', '', 'g'), ',', '.');
                    found := found || carmenta.phrase(language, number);
                END IF;
                RETURN found;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.forms(text, text) IS 'One word of a folded question in the forms that a text may have: whole, in parts, joined.'
        """
    )
    op.execute(
        r"""
        CREATE OR REPLACE FUNCTION carmenta.websearch(language text, content text) RETURNS tsquery
            LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                one text := carmenta.composed(CASE WHEN octet_length(content) <= 200000 THEN content ELSE left(content, 200000) END);
                plain text := carmenta.folded(language, one);
                kept text := CASE language WHEN 'da' THEN '\m(allé|hår|hån|mød|nøgle|skål|søm|ånden|øver)\M' WHEN 'de' THEN '\m(änder[ens]?)\M' WHEN 'es' THEN '\m(entré|teñid[ao]s?|té|uña)\M' WHEN 'fr' THEN '\m(dés?|dû|maïs|né|sûr)\M' WHEN 'it' THEN '\m(dì)\M' WHEN 'no' THEN '\m(allé|hår|hån|møt|skål|søm|sømme|øver)\M' WHEN 'pt' THEN '\m(dó|más|nó|pará|pêlos?|pôr|séria|tevê)\M' WHEN 'sv' THEN '\m(hår|hån|mån|män|möt|söm|värt|öm)\M' ELSE NULL END;
                either tsquery := '';
                every tsquery := '';
                found tsquery;
                m text[];
            BEGIN
                IF octet_length(plain) > 8000 THEN  -- nobody writes that much syntax
                    RETURN carmenta.words_joined(carmenta.stems(language, carmenta.fitting(carmenta.spaced(plain))),
                        CASE WHEN plain ~* '\yor\y' THEN '|' ELSE '&' END);
                END IF;
                FOR m IN SELECT * FROM regexp_matches(plain, '(-?)"([^"]*)"|([^\s"]+)', 'g') LOOP
                    IF lower(m[3]) = 'or' THEN
                        either := either || every;
                        every := '';
                        CONTINUE;
                    ELSIF m[3] IS NOT NULL THEN
                        found := carmenta.forms(language, m[3]);
                    ELSE
                        found := carmenta.phrase(language, carmenta.spaced(m[2]));
                        IF m[2] ~ '[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a][0-9]|[0-9][A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a]|[a-zα-ωа-я][a-zα-ωа-я][A-ZΑ-ΩА-Я]|[A-ZΑ-ΩА-Я][A-ZΑ-ΩА-Я][a-zα-ωа-я][a-zα-ωа-я]' THEN
                            found := found || carmenta.phrase(
                                language, carmenta.spaced(regexp_replace(m[2], '([A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])(?=[0-9])|([0-9])(?=[A-Za-z\u00df-\u00f6\u00f8-\u024f\u0370-\u0373\u0376-\u037d\u0386-\u03ff\u0400-\u0481\u048a-\u0587\u05d0-\u05ea\u0620-\u064a])|([a-zα-ωа-я])(?=[A-ZΑ-ΩА-Я])|([A-ZΑ-ΩА-Я])(?=[A-ZΑ-ΩА-Я][a-zα-ωа-я])', '\1\2\3\4 ', 'g')));
                        END IF;
                    END IF;
                    every := every && CASE WHEN m[1] = '-' OR m[3] ~ '^-[^-]' THEN !!found ELSE found END;
                END LOOP;
                IF kept IS NOT NULL AND one ~ '[^\u0001-\u007f]' THEN
                    FOR m IN SELECT * FROM regexp_matches(one, kept, 'gi') LOOP
                        every := every && carmenta.phrase(language, m[1]);
                    END LOOP;
                END IF;
                RETURN either || every;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.websearch(text, text) IS 'A question in the syntax of web searches (all words, phrases in quotes, or, -not), its words cut as in texts.'
        """
    )
    op.execute("GRANT USAGE ON SCHEMA carmenta TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.users (
            id UUID NOT NULL,
            kind TEXT DEFAULT 'registered' NOT NULL,
            name TEXT,
            region TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            image_url TEXT,
            updated_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_users PRIMARY KEY (id),
            CONSTRAINT ck_users_kind CHECK (kind IN ('registered', 'anonymous'))
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.users IS 'A person, registered or anonymous.'")
    op.execute("COMMENT ON COLUMN carmenta.users.id IS 'May be the id of an external identity provider.'")
    op.execute("COMMENT ON COLUMN carmenta.users.region IS 'Data region in which the rows must stay.'")
    op.execute("COMMENT ON COLUMN carmenta.users.image_url IS 'The picture shown for the person.'")
    op.execute("COMMENT ON COLUMN carmenta.users.updated_at IS 'Null when never changed.'")
    op.execute("ALTER TABLE carmenta.users ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.users FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.users TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.users TO carmenta_app USING (id = carmenta.current_user_id()) WITH CHECK (id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.users TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.sign_ins (
            provider TEXT NOT NULL,
            provider_account_id TEXT NOT NULL,
            user_id UUID NOT NULL,
            CONSTRAINT pk_sign_ins PRIMARY KEY (provider, provider_account_id),
            CONSTRAINT uq_sign_ins_user_id_provider_provider_account_id UNIQUE (user_id, provider, provider_account_id)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.sign_ins IS 'Whose an external account is: one owner for each. Read and written by functions alone; whoever erases a user deletes the user''s rows here as well, as the owner.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.sign_ins.user_id IS 'No key to users: on a distributed server this table stands whole on every node, and refers to none.'
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.accounts (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            provider TEXT NOT NULL,
            provider_account_id TEXT NOT NULL,
            email TEXT,
            email_verified BOOLEAN DEFAULT false NOT NULL,
            password_hash TEXT,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_accounts PRIMARY KEY (user_id, id),
            CONSTRAINT fk_accounts_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_accounts_user_id_provider_provider_account_id UNIQUE (user_id, provider, provider_account_id),
            CONSTRAINT fk_accounts_user_id_provider_provider_account_id FOREIGN KEY(user_id, provider, provider_account_id) REFERENCES carmenta.sign_ins (user_id, provider, provider_account_id) ON DELETE CASCADE,
            CONSTRAINT ck_accounts_password CHECK (provider <> 'password' OR password_hash IS NOT NULL)
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.accounts IS 'A way to sign in.'")
    op.execute("COMMENT ON COLUMN carmenta.accounts.provider IS 'password, google, github, ...'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.accounts.provider_account_id IS 'The id there; the e-mail address for a password.'
        """
    )
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.accounts.password_hash IS 'A salted slow hash in its own notation, such as $argon2id$...; never a password.'
        """
    )
    op.execute("ALTER TABLE carmenta.accounts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.accounts FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.accounts TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.accounts TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.accounts TO carmenta_app")
    op.execute("ALTER TABLE carmenta.sign_ins ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.sign_ins FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.sign_ins TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.user_of_account(provider text, provider_account_id text) RETURNS uuid
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            RETURN (SELECT u.id FROM carmenta.sign_ins s JOIN carmenta.users u ON u.id = s.user_id
                WHERE s.provider = user_of_account.provider AND s.provider_account_id = user_of_account.provider_account_id AND u.deleted_at IS NULL)
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.user_of_account(text, text) IS 'Whose external account it is, asked before anybody is known; null for nobody''s, and for a deleted user''s.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION carmenta.claim_account(provider text, provider_account_id text) RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            DECLARE
                me uuid := carmenta.current_user_id();
                holder uuid;
            BEGIN
                IF NOT EXISTS (SELECT FROM carmenta.users u WHERE u.id = me AND u.deleted_at IS NULL) THEN
                    RAISE EXCEPTION 'an account is claimed for the current user, and there is none: act for a living user'
                        USING ERRCODE = 'insufficient_privilege';
                END IF;
                LOOP
                    INSERT INTO carmenta.sign_ins (provider, provider_account_id, user_id)
                        VALUES (claim_account.provider, claim_account.provider_account_id, me)
                        ON CONFLICT ON CONSTRAINT pk_sign_ins DO NOTHING;
                    IF FOUND THEN RETURN; END IF;
                    SELECT s.user_id INTO holder FROM carmenta.sign_ins s WHERE s.provider = claim_account.provider AND s.provider_account_id = claim_account.provider_account_id FOR UPDATE;
                    CONTINUE WHEN NOT FOUND;
                    IF holder = me THEN RETURN; END IF;
                    IF EXISTS (SELECT FROM carmenta.users u WHERE u.id = holder AND u.deleted_at IS NULL) THEN
                        RAISE EXCEPTION USING ERRCODE = 'check_violation', SCHEMA = 'carmenta', TABLE = 'sign_ins',
                            CONSTRAINT = 'one_owner', MESSAGE = 'the ' || claim_account.provider || ' account ' ||
                                claim_account.provider_account_id || ' signs in another user: unlink it there first';
                    END IF;
                    DELETE FROM carmenta.sign_ins s WHERE s.provider = claim_account.provider AND s.provider_account_id = claim_account.provider_account_id;
                END LOOP;
            END $$
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.claim_account(text, text) IS 'Makes the current user the owner of an external account; refuses while another living user has it, and takes it over, with the row in accounts, from one who is gone.'
        """
    )
    op.execute(
        r"""
        CREATE FUNCTION carmenta.release_account(provider text, provider_account_id text) RETURNS boolean
            LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            BEGIN ATOMIC
                WITH gone AS (DELETE FROM carmenta.sign_ins s WHERE s.provider = release_account.provider AND s.provider_account_id = release_account.provider_account_id
                    AND s.user_id = carmenta.current_user_id() RETURNING 1)
                SELECT count(*) > 0 FROM gone;
            END
        """
    )
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.release_account(text, text) IS 'Gives up an external account of the current user, whose row in accounts goes with it; false when it is not.'
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.user_of_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.user_of_account(text, text) TO carmenta_app")
    op.execute("REVOKE ALL ON FUNCTION carmenta.claim_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.claim_account(text, text) TO carmenta_app")
    op.execute("REVOKE ALL ON FUNCTION carmenta.release_account(text, text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.release_account(text, text) TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.sessions (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            token_sha256 BYTEA NOT NULL,
            expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
            user_agent TEXT,
            last_seen_at TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_sessions PRIMARY KEY (user_id, id),
            CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_sessions_token_sha256 CHECK (octet_length(token_sha256) = 32),
            CONSTRAINT ck_sessions_expires_at CHECK (expires_at > created_at)
        )
        """
    )
    op.execute("CREATE INDEX ix_sessions_token ON carmenta.sessions (token_sha256)")
    op.execute("COMMENT ON TABLE carmenta.sessions IS 'A browser or program that is signed in.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.sessions.token_sha256 IS 'Hash of the random token that the client holds; who reads the table cannot sign in.'
        """
    )
    op.execute("ALTER TABLE carmenta.sessions ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.sessions FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.sessions TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.sessions TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.sessions TO carmenta_app")
    op.execute(
        r"""
        CREATE FUNCTION carmenta.user_of_session(token_sha256 bytea) RETURNS uuid
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            RETURN (SELECT (array_agg(s.user_id) FILTER (WHERE s.expires_at > now() AND u.deleted_at IS NULL))[1]
                FROM carmenta.sessions s JOIN carmenta.users u ON u.id = s.user_id
                WHERE s.token_sha256 = user_of_session.token_sha256 HAVING count(*) = 1)
        """
    )
    op.execute("REVOKE ALL ON FUNCTION carmenta.user_of_session(bytea) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION carmenta.user_of_session(bytea) TO carmenta_app")
    op.execute(
        r"""
        COMMENT ON FUNCTION carmenta.user_of_session(bytea) IS 'Whose session it is, asked before anybody is known; a hash that two sessions have signs in nobody.'
        """
    )
    op.execute(
        r"""
        CREATE TABLE carmenta.service_connections (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            provider TEXT NOT NULL,
            account_label TEXT DEFAULT '' NOT NULL,
            scopes TEXT[] DEFAULT '{}' NOT NULL,
            status TEXT DEFAULT 'active' NOT NULL,
            access_token_encrypted BYTEA,
            refresh_token_encrypted BYTEA,
            key_id TEXT,
            token_expires_at TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_service_connections PRIMARY KEY (user_id, id),
            CONSTRAINT fk_service_connections_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT uq_service_connections_user_id_provider_account_label UNIQUE (user_id, provider, account_label),
            CONSTRAINT ck_service_connections_status CHECK (status IN ('active', 'expired', 'revoked', 'failed')),
            CONSTRAINT ck_service_connections_key_id CHECK (key_id IS NOT NULL OR num_nonnulls(access_token_encrypted, refresh_token_encrypted) = 0),
            CONSTRAINT ck_service_connections_access_token CHECK (status <> 'active' OR access_token_encrypted IS NOT NULL)
        )
        """
    )
    op.execute(
        r"""
        COMMENT ON TABLE carmenta.service_connections IS 'A service that the user connected, and the tokens that open it.'
        """
    )
    op.execute("COMMENT ON COLUMN carmenta.service_connections.provider IS 'gmail, notion, slack, ...'")
    op.execute("COMMENT ON COLUMN carmenta.service_connections.account_label IS 'Which account there.'")
    op.execute(
        r"""
        COMMENT ON COLUMN carmenta.service_connections.key_id IS 'The key that encrypted the tokens; the keys themselves are never in the database.'
        """
    )
    op.execute("ALTER TABLE carmenta.service_connections ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.service_connections FORCE ROW LEVEL SECURITY")
    op.execute(
        r"""
        CREATE POLICY owner_all ON carmenta.service_connections TO carmenta_owner USING (true) WITH CHECK (true)
        """
    )
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.service_connections TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.service_connections TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.assistants (
            user_id UUID NOT NULL,
            id UUID NOT NULL,
            name TEXT NOT NULL,
            role TEXT NOT NULL,
            model TEXT,
            instructions TEXT DEFAULT '' NOT NULL,
            tools JSONB DEFAULT '[]' NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            deleted_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_assistants PRIMARY KEY (user_id, id),
            CONSTRAINT fk_assistants_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_assistants_name CHECK (name <> ''),
            CONSTRAINT ck_assistants_tools CHECK (jsonb_typeof(tools) = 'array')
        )
        """
    )
    op.execute(
        r"""
        CREATE UNIQUE INDEX uq_assistants_name ON carmenta.assistants (user_id, name) WHERE deleted_at IS NULL
        """
    )
    op.execute("COMMENT ON TABLE carmenta.assistants IS 'A member of the user''s AI team.'")
    op.execute("COMMENT ON COLUMN carmenta.assistants.role IS 'What it is there for, in the user''s words.'")
    op.execute("COMMENT ON COLUMN carmenta.assistants.model IS 'Null: chosen per message.'")
    op.execute("ALTER TABLE carmenta.assistants ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.assistants FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.assistants TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.assistants TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.assistants TO carmenta_app")
    op.execute(
        r"""
        CREATE TABLE carmenta.settings (
            user_id UUID NOT NULL,
            key TEXT NOT NULL,
            value JSONB NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
            CONSTRAINT pk_settings PRIMARY KEY (user_id, key),
            CONSTRAINT fk_settings_user_id FOREIGN KEY(user_id) REFERENCES carmenta.users (id) ON DELETE CASCADE,
            CONSTRAINT ck_settings_key CHECK (key <> '')
        )
        """
    )
    op.execute("COMMENT ON TABLE carmenta.settings IS 'One choice of a user.'")
    op.execute("ALTER TABLE carmenta.settings ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE carmenta.settings FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner_all ON carmenta.settings TO carmenta_owner USING (true) WITH CHECK (true)")
    op.execute(
        r"""
        CREATE POLICY app_own_rows ON carmenta.settings TO carmenta_app USING (user_id = carmenta.current_user_id()) WITH CHECK (user_id = carmenta.current_user_id())
        """
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON carmenta.settings TO carmenta_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION carmenta.user_of_session(bytea)")
    op.execute("DROP FUNCTION carmenta.release_account(text, text)")
    op.execute("DROP FUNCTION carmenta.claim_account(text, text)")
    op.execute("DROP FUNCTION carmenta.user_of_account(text, text)")
    op.execute("DROP TABLE carmenta.settings")
    op.execute("DROP TABLE carmenta.sessions")
    op.execute("DROP TABLE carmenta.service_connections")
    op.execute("DROP TABLE carmenta.assistants")
    op.execute("DROP TABLE carmenta.accounts")
    op.execute("DROP TABLE carmenta.users")
    op.execute("DROP TABLE carmenta.sign_ins")
    op.execute("DROP FUNCTION carmenta.websearch(text, text)")
    op.execute("DROP FUNCTION carmenta.forms(text, text)")
    op.execute("DROP FUNCTION carmenta.phrase(text, text)")
    op.execute("DROP FUNCTION carmenta.any_word(text, text)")
    op.execute("DROP FUNCTION carmenta.words_joined(tsvector, text)")
    op.execute("DROP FUNCTION carmenta.lexemes(text, text)")
    op.execute("DROP FUNCTION carmenta.cut_lexemes(text, text)")
    op.execute("DROP FUNCTION carmenta.stems(text, text)")
    op.execute("DROP FUNCTION carmenta.cut(text, text)")
    op.execute("DROP FUNCTION carmenta.fitting(text)")
    op.execute("DROP FUNCTION carmenta.other_words(text, text, text)")
    op.execute("DROP FUNCTION carmenta.spaced(text)")
    op.execute("DROP FUNCTION carmenta.folded(text, text)")
    op.execute("DROP FUNCTION carmenta.composed(text)")
    op.execute("DROP FUNCTION carmenta.current_user_id()")
    op.execute("REVOKE USAGE ON SCHEMA carmenta FROM carmenta_app")
