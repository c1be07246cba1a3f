"""Texts, sentences and questions for the golden answers: our own, in many scripts, from empty to very long."""

from __future__ import annotations

SENTENCES = (
    "Ada Lovelace wrote the first program for Charles Babbage's engine in London.",
    "The United Nations opened a new office in Nairobi on Tuesday.",
    "barack obama visited berlin with angela merkel",
    "Microsoft bought GitHub for 7.5 billion dollars in 2018.",
    "I watched The Lord of the Rings in a small cinema near Lake Geneva.",
    "The Amazon flows through Brazil, Peru and Colombia.",
    "Marie Curie won the Nobel Prize in Physics and, later, in Chemistry.",
    "Nothing in this sentence has a name.",
    "O'Brien met Jean-Luc d'Arc at St. Mary's Hospital, didn't he?",
    "Real Madrid beat Manchester City 3-1 after extra time!!!",
    "@nasa launched #Artemis from Cape Canaveral 🚀🌕 http://t.co/abc",
    "Zürich, São Paulo, Łódź and Reykjavík are cities; naïve café ÀÉÎ.",
    "ﬁnally the Ⅳ ½ ligatures: straße Straße STRASSE",
    "שלום עולם, ירושלים היא עיר בישראל",
    "كيف حالك؟ القاهرة عاصمة مصر",
    "北京是中国的首都 and Tokyo is in Japan",
    "こんにちは、東京から。Tanaka works for Toyota.",
    "Привет из Москвы, сказал Иван Петров.",
    "Αθήνα is the capital of Ελλάδα.",
    "emoji only 😀🎉👩‍👩‍👧🇩🇪",
    "😀",
    "   leading and trailing blanks   ",
    "tabs\tand\nnewlines\r\nin New York\u00a0City",
    "zero\u200bwidth and \ufeffmarks by Google",
    "[CLS] special [SEP] words [MASK] from Paris [PAD]",
    "a" * 200,
    "supercalifragilisticexpialidocious Llanfairpwllgwyngyll antidisestablishmentarianism",
    "1234567890 -- ... $9.99 (50%) & more; e.g. U.S.A., Ph.D.",
    "x",
    ".",
    "The film is a delight, warm and very funny.",
    "A waste of time: dull, loud and far too long.",
    "It was not bad, but I would not see it again.",
    "The food arrived cold and nobody said sorry.",
    "Great phone, the battery lasts for two days.",
    "Professor Okonkwo of the University of Lagos spoke about Chinua Achebe's Things Fall Apart.",
    "ORG, LOC and PER are tags; Paris Hilton stayed at the Hilton in Paris.",
    "The European Central Bank and the Federal Reserve raised rates in Frankfurt and Washington.",
    "From Cairo to the Cape by train, by Cecil Rhodes' dream",
    "Washington was born in Virginia; Washington is a state; Washington D.C. is a city.",
)

PASSAGES = (
    (
        "Mark is batman. He lives in a cave below the city and drives a black car. On Sundays he bakes bread.",
        (
            "Who is Mark?",
            "Where does Mark live?",
            "What does he drive?",
            "When does he bake bread?",
            "who is batman",
        ),
    ),
    (
        "The lighthouse of Port Ellery was built in 1847 by the engineer Thomas Garrow. It is 31 metres high and was "
        "lit with whale oil until 1902, when electricity came to the island.",
        (
            "When was the lighthouse built?",
            "Who built the lighthouse?",
            "How high is it?",
            "What was it lit with?",
            "When did electricity come to the island?",
            "Where is the lighthouse?",
        ),
    ),
    (
        "sparselane is an engine that runs pruned models on ordinary processors. It skips the zeros of a matrix, so "
        "a model with 80 % zeros needs a fifth of the work. It was written in Python and compiled with Numba.",
        (
            "What is sparselane?",
            "What does it skip?",
            "How much work does a model with 80 % zeros need?",
            "What was it written in?",
            "What is it compiled with?",
        ),
    ),
    (
        "Water boils at 100 degrees Celsius at sea level, but at the top of Mount Everest, 8,849 metres above the sea, "
        "it boils at about 68 degrees because the pressure of the air is lower.",
        (
            "At what temperature does water boil at sea level?",
            "How high is Mount Everest?",
            "Why does water boil at 68 degrees on Everest?",
            "What is lower at the top?",
        ),
    ),
    (
        "Zoë Müller-Étienne opened her café in Zürich in March 2015; the naïve façade was painted by Björk Ångström. "
        "Its speciality is crème brûlée with 7½ % sugar 🍮.",
        (
            "Who opened the café?",
            "Where is the café?",
            "Who painted the façade?",
            "What is its speciality?",
            "How much sugar is in it? 🍮",
        ),
    ),
    (
        "ירושלים היא עיר עתיקה. The old city has seven gates, and the Jaffa Gate was rebuilt in 1538. القدس مدينة قديمة.",
        ("How many gates has the old city?", "When was the Jaffa Gate rebuilt?", "איזו עיר עתיקה?"),
    ),
    (
        "In chess, each player begins with sixteen pieces: one king, one queen, two rooks, two bishops, two knights and "
        "eight pawns. The queen is the strongest piece; the pawn is the weakest. A game ends with checkmate.",
        (
            "How many pieces does each player have?",
            "Which piece is the strongest?",
            "Which piece is the weakest?",
            "How does a game end?",
            "How many pawns are there?",
        ),
    ),
    (
        "The committee met on 12 June in Lisbon. Maria Santos, its chair, asked for a report by autumn; Lee Wong of the "
        "treasury said that 4.2 million euros were missing. No one could say where the money had gone.",
        (
            "When did the committee meet?",
            "Where did the committee meet?",
            "Who is the chair?",
            "How much money was missing?",
            "Who works for the treasury?",
            "By when is the report due?",
        ),
    ),
    ("short", ("What is this?", "?")),
    ("😀😀 42 😀", ("Which number is it?",)),
)


def texts() -> list[str]:
    """Over 200 texts: each sentence alone, in pairs, in threes, and some very long."""
    pairs = [f"{a} {b}" for a, b in zip(SENTENCES, SENTENCES[7:] + SENTENCES[:7], strict=True)]
    threes = [" ".join(SENTENCES[(i * 5 + j * 11) % len(SENTENCES)] for j in range(3)) for i in range(40)]
    upper = [sentence.upper() for sentence in SENTENCES]
    glued = [a + b for a, b in zip(SENTENCES, reversed(SENTENCES), strict=True)]
    long = [" ".join(SENTENCES) * 3, "word " * 10_000, "New York " * 5_000, "é" * 3_000]
    return ["", " ", *SENTENCES, *pairs, *threes, *upper, *glued, *long]


def questions() -> list[tuple[str, str]]:
    """200 questions and more, each with its passage: alone, and in passages of several windows."""
    own = [(question, passage) for passage, asked in PASSAGES for question in asked]
    whole = " ".join(passage for passage, _ in PASSAGES)
    turned = " ".join(passage for passage, _ in reversed(PASSAGES))
    filler = "The rest of this page says nothing of interest to anybody. "
    inside = [(question, whole) for question, _ in own] + [(question, turned) for question, _ in own]
    late = [(question, filler * 12 + passage + " " + filler * 4) for question, passage in own]
    foreign = [(own[i][0], own[(i * 7 + 3) % len(own)][1]) for i in range(len(own))]
    very_long = [(question, filler * 900 + passage + filler * 80) for question, passage in own[:1]]
    return [*own, *inside, *late, *foreign, *very_long]
