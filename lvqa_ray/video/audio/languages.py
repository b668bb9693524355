"""Language tags as file names and containers spell them: ``en``, ``eng``, ``en-US``, ``English``."""

from __future__ import annotations

import re
from collections.abc import Mapping

# ISO 639-1 code, ISO 639-2 codes of the same language (bibliographic ones last), English name.
_TABLE = """
aa aar;ab abk;ae ave;af afr afrikaans;ak aka;am amh amharic;an arg;ar ara arabic;as asm;av ava;ay aym;az aze azerbaijani
ba bak;be bel belarusian;bg bul bulgarian;bi bis;bm bam;bn ben bengali;bo bod tib tibetan;br bre;bs bos bosnian
ca cat catalan;ce che;ch cha;co cos;cr cre;cs ces cze czech;cu chu;cv chv;cy cym wel welsh;da dan danish
de deu ger german deutsch;dv div;dz dzo;ee ewe;el ell gre greek;en eng english;eo epo esperanto
es spa spanish español espanol castellano;et est estonian;eu eus baq basque;fa fas per persian farsi;ff ful
fi fin finnish;fj fij;fo fao;fr fra fre french français francais;fy fry;ga gle irish;gd gla;gl glg galician;gn grn
gu guj gujarati
gv glv;ha hau;he heb hebrew iw;hi hin hindi;ho hmo;hr hrv croatian;ht hat;hu hun hungarian
hy hye arm armenian;hz her;ia ina;id ind indonesian;ie ile;ig ibo;ii iii;ik ipk;io ido;is isl ice icelandic
it ita italian italiano;iu iku;ja jpn japanese;jv jav;ka kat geo georgian;kg kon;ki kik;kj kua;kk kaz kazakh;kl kal
km khm khmer;kn kan kannada;ko kor korean;kr kau;ks kas;ku kur kurdish;kv kom;kw cor;ky kir;la lat latin;lb ltz;lg lug
li lim;ln lin;lo lao;lt lit lithuanian;lu lub;lv lav latvian;mg mlg;mh mah;mi mri mao;mk mkd mac macedonian
ml mal malayalam;mn mon mongolian;mr mar marathi;ms msa may malay;mt mlt maltese;my mya bur burmese;na nau
nb nob bokmål;nd nde;ne nep nepali;ng ndo;nl nld dut dutch nederlands;nn nno nynorsk;no nor norwegian norsk;nr nbl
nv nav;ny nya;oc oci;oj oji;om orm;or ori;os oss;pa pan punjabi;pi pli;pl pol polish polski;ps pus
pt por portuguese português portugues;qu que;rm roh;rn run;ro ron rum romanian;ru rus russian;rw kin;sa san;sc srd
sd snd;se sme;sg sag;si sin sinhala;sk slk slo slovak;sl slv slovenian;sm smo;sn sna;so som;sq sqi alb albanian
sr srp serbian;ss ssw;st sot;su sun;sv swe swedish svenska;sw swa swahili;ta tam tamil;te tel telugu;tg tgk;th tha thai
ti tir;tk tuk;tl tgl tagalog filipino fil;tn tsn;to ton;tr tur turkish;ts tso;tt tat;tw twi;ty tah;ug uig
uk ukr ukrainian;ur urd urdu;uz uzb uzbek;ve ven;vi vie vietnamese;vo vol;wa wln;wo wol;xh xho;yi yid;yo yor;za zha
zh zho chi chinese cmn mandarin;yue cantonese;zu zul;und
"""
_PRIMARY: Mapping[str, str] = {name: names.split()[0] for names in re.split(r"[;\n]", _TABLE) for name in names.split()}
# Tags that Chinese files and players use for the two scripts.
_SCRIPTS = {"chs": "zh-hans", "cht": "zh-hant", "zh-cn": "zh-hans", "zh-sg": "zh-hans", "zh-tw": "zh-hant"}
_SCRIPTS |= {"zh-hk": "zh-hant", "sc": "zh-hans", "tc": "zh-hant"}
_TAG = re.compile(r"[^\W\d_]{2,12}(?:[-_][A-Za-z0-9]{2,8}){0,3}")


def language(tag: str) -> str:
    """Normalise a tag, to ``en`` or ``zh-hans`` for example; empty for a text that is no tag of a known language."""
    if not _TAG.fullmatch(tag):
        return ""
    plain = tag.casefold().replace("_", "-")
    plain = _SCRIPTS.get(plain, plain)
    primary, dash, rest = plain.partition("-")
    known = _PRIMARY.get(primary, "")
    return f"{known}{dash}{rest}" if known else ""


def match(wanted: str, tag: str) -> int:
    """Score a tag: 3 for the same text, 2 for the same language, 1 if only one has a region, 0 for other languages."""
    if wanted.casefold() == tag.casefold():
        return 3
    one, other = language(wanted), language(tag)
    if not one or not other:
        return 0
    if one == other:
        return 2
    (first, _, more), (second, _, less) = one.partition("-"), other.partition("-")
    return int(first == second and not (more and less))
