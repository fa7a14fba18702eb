"""Writes test/savedmodel/host/goldens-text.json: what Unicode's own algorithms, as Python has them, make of some texts.

TensorFlow Text, whose ops these are, calls ICU for the same algorithms; it is not needed here. Usage: python scripts/text-op-goldens.py
"""

import base64
import json
import unicodedata

TEXTS = [
    "", "TensorFlow", "The   Quick-Brown\n\tCAT jumped", "Straße GROSSE ẞ", "ǅ ǆ Ǆ", "ﬁn ﬀ ﬃ", "İstanbul ıI", "ΣΑΣ ς σ", "Ὀδυσσεύς ᾳ ᾼ",
    "e\u0301 é", "A\u030a Å \u212b", "¿Todavía está en casa?", "ｆｕｌｌ　ＷＩＤＴＨ", "①②½", "한글 \u1112\u1161\u11ab", "\u00ad soft\u200bhyphen\ufeff",
    "क़ \u0915\u093c", "Ꭰꭰ", "ა Ა", "k \u212a", "ŉ ǰ ΐ", "🙂 \U0001d400",
]


def stored(texts):
    return {"d": "string", "s": [len(texts)], "v": [base64.b64encode(text.encode()).decode() for text in texts]}


def casefold(text):
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    # Of the texts above these alone are ignorable by default.
    for ignorable in "\u00ad\u200b\ufeff":
        folded = folded.replace(ignorable, "")
    return unicodedata.normalize("NFKC", folded.casefold())


cases = [{"op": "CaseFoldUTF8", "in": [stored(TEXTS)], "attrs": {}, "out": [stored([casefold(text) for text in TEXTS])]}]
for form in ["NFC", "NFD", "NFKC", "NFKD"]:
    attrs = {"normalization_form": {"s": base64.b64encode(form.encode()).decode()}}
    out = [unicodedata.normalize(form, text) for text in TEXTS]
    cases.append({"op": "NormalizeUTF8", "in": [stored(TEXTS)], "attrs": attrs, "out": [stored(out)]})
with open("test/savedmodel/host/goldens-text.json", "w", encoding="ascii") as file:
    file.write("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
