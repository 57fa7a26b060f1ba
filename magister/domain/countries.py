"""Pure: countries by their two-letter codes, and the one at the end of a place as Vast writes it."""

import re

_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""

COUNTRIES = frozenset(_CODES.split())
"""The codes of ISO 3166-1 as the tz database lists them (iso3166.tab), and XK, by which Kosovo goes."""

_MISTAKEN = {
    "UK": "the United Kingdom is GB",
    "EU": "the European Union is no country; list its countries, such as DE, FR, SE",
    "EL": "Greece is GR",
    "SU": "the Soviet Union is no more; list countries",
    "YU": "Yugoslavia is no more; list countries, such as RS, HR",
}


def objection(code: str) -> str | None:
    """Say why `code`, in capitals, is no country's, and what would be right; None = it is one's."""
    if code in COUNTRIES:
        return None
    right = _MISTAKEN.get(code, "write the two-letter codes of ISO 3166, such as SE, NO, US")
    return f"must be country codes, and {code} is none: {right}"


def code_in(place: str | None) -> str | None:
    """Return the code at the end of a place such as "Oslo, NO" or ", US"; None = it ends with none."""
    found = re.search(r"(?:^|,)\s*([A-Za-z]{2})\s*$", place or "")
    return None if found is None else found[1].upper()
