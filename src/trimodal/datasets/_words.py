"""Words of the simulated market: colours, materials and styles in four languages, and invented brands."""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = ("en", "tr", "de", "es")


@dataclass(frozen=True)
class Words:
    """Words of one meaning: a tuple of synonyms for each of `LANGUAGES`."""

    by_language: tuple[tuple[str, ...], ...]

    @staticmethod
    def read(line: str) -> Words:
        """Read `en1, en2 | tr1, tr2 | de1 | es1`."""
        return Words(tuple(tuple(word.strip() for word in part.split(",")) for part in line.split("|")))

    def pick(self, language: int, choice: int) -> str:
        """Return synonym number `choice`, counted round the list."""
        synonyms = self.by_language[language]
        return synonyms[choice % len(synonyms)]


# what makes a further category out of a base one, when more than 60 are asked for
MODIFIERS = tuple(
    Words.read(line)
    for line in (
        "kids' | çocuk | Kinder- | infantil",
        "travel | seyahat | Reise- | de viaje",
        "luxury | lüks | Luxus- | de lujo",
        "second-hand | ikinci el | gebrauchte | de segunda mano",
        "antique | antika | antike | antiguo",
        "miniature | minyatür | Miniatur- | en miniatura",
        "rental | kiralık | Miet- | de alquiler",
        "hospital | hastane | Krankenhaus- | de hospital",
        "school | okul | Schul- | escolar",
        "marine | deniz | Marine- | marino",
        "military | askeri | Militär- | militar",
        "wedding | düğün | Hochzeits- | de boda",
    )
)

# colour: red, green, blue (0..255), words
COLOURS: tuple[tuple[tuple[int, int, int], Words], ...] = (
    ((200, 38, 42), Words.read("red | kırmızı | rot | rojo")),
    ((232, 126, 30), Words.read("orange | turuncu | orange | naranja")),
    ((238, 205, 50), Words.read("yellow | sarı | gelb | amarillo")),
    ((58, 150, 70), Words.read("green | yeşil | grün | verde")),
    ((40, 170, 170), Words.read("turquoise | turkuaz | türkis | turquesa")),
    ((40, 90, 190), Words.read("blue | mavi | blau | azul")),
    ((120, 60, 160), Words.read("purple | mor | lila | morado")),
    ((235, 130, 170), Words.read("pink | pembe | rosa | rosa")),
    ((120, 78, 48), Words.read("brown | kahverengi | braun | marrón")),
    ((45, 45, 50), Words.read("black | siyah | schwarz | negro")),
    ((150, 152, 158), Words.read("grey | gri | grau | gris")),
    ((225, 215, 195), Words.read("beige | bej | beige | beis")),
)

MATERIALS = tuple(
    Words.read(line)
    for line in (
        "cotton | pamuklu | Baumwolle | algodón",
        "leather | deri | Leder | cuero",
        "steel | çelik | Edelstahl | acero",
        "wood | ahşap | Holz | madera",
        "plastic | plastik | Kunststoff | plástico",
        "glass | cam | Glas | vidrio",
        "ceramic | seramik | Keramik | cerámica",
        "aluminium | alüminyum | Aluminium | aluminio",
        "rubber | kauçuk | Gummi | caucho",
        "bamboo | bambu | Bambus | bambú",
    )
)

STYLES = tuple(
    Words.read(line)
    for line in (
        "classic | klasik | klassisch | clásico",
        "sport | spor | sportlich | deportivo",
        "compact | kompakt | kompakt | compacto",
        "professional | profesyonel | Profi | profesional",
        "retro | retro | Retro | retro",
        "premium | premium | Premium | premium",
        "light | hafif | leicht | ligero",
        "modern | modern | modern | moderno",
        "rustic | rustik | rustikal | rústico",
        "eco | çevreci | öko | ecológico",
        "family | aile boyu | Familien | familiar",
        "mini | mini | Mini | mini",
        "smart | akıllı | smart | inteligente",
        "designer | tasarım | Designer | de diseño",
    )
)

LINKS = Words.read("suitable for | uyumlu | passend für | compatible con")
EXTRAS = tuple(
    Words.read(line)
    for line in (
        "new | yeni | neu | nuevo",
        "free shipping | ücretsiz kargo | versandkostenfrei | envío gratis",
        "sale | indirimli | Angebot | oferta",
        "2 pcs | 2 adet | 2 Stück | 2 unidades",
        "original | orijinal | Original | original",
    )
)

_ONSETS = (
    "ba",
    "ko",
    "ve",
    "lu",
    "ni",
    "tra",
    "sel",
    "mo",
    "zi",
    "dor",
    "fa",
    "que",
    "ari",
    "hel",
    "ost",
    "pri",
)
_MIDDLES = ("ra", "lo", "mi", "ne", "vi", "sta", "do", "ke", "lan", "ti")
_ENDINGS = ("n", "x", "ra", "lis", "do", "ka", "tech", "via", "nor", "mar", "s", "um")
_BRAND_STEP = 541  # no common factor with the number of names: brands with neighbouring numbers sound different


def brand(number: int) -> str:
    """Return the invented brand of this number; the first 1,920 differ, later ones carry a numeral."""
    names = len(_ENDINGS) * len(_MIDDLES) * len(_ONSETS)
    series, place = divmod(number, names)
    rest, ending = divmod(place * _BRAND_STEP % names, len(_ENDINGS))
    onset, middle = divmod(rest, len(_MIDDLES))
    name = (_ONSETS[onset] + _MIDDLES[middle] + _ENDINGS[ending]).capitalize()
    return name if series == 0 else f"{name} {series + 1}"
