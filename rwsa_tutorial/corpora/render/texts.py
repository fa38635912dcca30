"""What is said in the mini corpora: our own sentences, each of them said once.

`everyday` and `narrated` make English out of templates, `ACTED` are lines to be acted in
other languages.
"""

import re

import numpy as np

from ..rendered import sentences

TALE = {
    "opening": "By the end of that summer|Long after the guests had gone|In the first days of the "
    "siege|Before the railway came to the valley|On the last page of the diary|Somewhere below "
    "the waterfall|When the rain grew thin toward evening|For as long as anyone could remember|"
    "Not far from the ruined mill|Once the lamps had been lit|During the seventh voyage|"
    "When the snow began to melt|At an hour when most people sleep|Against all expectation",
    "hero": "the old cartographer|Captain Ferrol|the youngest of the sisters|a stranger in a grey "
    "cloak|Mister Abernathy|the keeper of the archive|her grandfather's apprentice|the widow from "
    "the island|the astronomer|that stubborn mule driver|a boy called Rowan|the retired magistrate",
    "deed": "climbed the narrow stairs without a light|counted the coins a third time|sealed the "
    "envelope with black wax|followed the stream toward the sea|refused to speak of the matter|"
    "drew a circle upon the chart|carried the lantern across the field|waited for the tide to "
    "turn|copied every word of the manuscript|watched the smoke above the hills|gathered driftwood "
    "and dry heather|broke the bread and passed it on",
    "turn": "and nobody ever learnt the reason|yet the silence was harder to bear than the cold|"
    "though the path had been washed away|for there was nothing else to be done|while far below "
    "the river went on talking|as if the years between had never been|until the candle burnt down "
    "to its socket|so that even the dogs grew quiet|and the whole village talked of it for weeks|"
    "which was exactly what the brothers had feared|but fortune, as usual, had other plans",
}
TALE_FORMS = (
    "{opening}, {hero} {deed}, {turn}.",
    "{opening}, {hero} {deed}.",
    "It was said that {hero} {deed}, {turn}.",
    "And so {hero} {deed}, {turn}.",
    "{hero} {deed}; {hero} {deed}, {turn}.",
)

# (language, delivery, line): delivery as in `speech.STYLES`
ACTED = (
    ("fr", "neutral", "Je crois que le chat du boulanger a encore dormi dans le panier à pain."),
    ("fr", "loud", "Mais enfin, qui a bien pu laisser toutes les fenêtres ouvertes sous l'orage ?"),
    ("fr", "whisper", "Chut, ne bouge pas, il y a un renard juste derrière la grange du voisin."),
    ("fr", "fast", "Vite, vite, le bus part dans deux minutes et je n'ai pas encore mon manteau !"),
    ("fr", "slow", "Ce soir-là, la mer était si calme qu'on entendait respirer les voiliers."),
    ("fr", "high", "Oh, regarde comme il est petit, il tient tout entier dans ma main !"),
    ("fr", "low", "Cette maison garde ses secrets, et moi, je garde la clé de la cave."),
    ("fr", "neutral", "Nous avons planté douze pommiers le long du chemin qui mène à l'école."),
    ("fr", "loud", "Attention, la branche va tomber, éloignez-vous tous du grand chêne !"),
    ("es", "neutral", "Mi abuela guarda los botones viejos en una caja azul de galletas."),
    ("es", "loud", "¡Que alguien cierre esa puerta, por favor, que se escapan las gallinas!"),
    ("es", "whisper", "No hagas ruido, que la niña acaba de dormirse en el sillón."),
    ("es", "fast", "Corre, que empieza la película y todavía no hemos comprado las entradas."),
    ("es", "slow", "Hace mucho tiempo, en este valle no había más luz que la de la luna."),
    ("es", "high", "¡Qué alegría, ha llegado una carta desde el otro lado del océano!"),
    ("es", "low", "Te lo advertí tres veces, y tres veces miraste hacia otro lado."),
    ("es", "neutral", "El tren de las nueve lleva siempre dos vagones llenos de naranjas."),
    ("it", "neutral", "Il postino dice che la strada per il lago è ancora coperta di neve."),
    ("it", "loud", "Basta, non voglio più sentire una sola parola su quella vecchia barca!"),
    ("it", "whisper", "Parla piano, dietro quella tenda c'è qualcuno che ascolta."),
    ("it", "fast", "Prendi le chiavi, chiudi il gas, spegni la luce e andiamo via subito."),
    ("it", "slow", "Quando il vento si ferma, si sentono le campane fino alla costa."),
    ("it", "high", "Ma davvero hai dipinto tutte queste farfalle in un pomeriggio solo?"),
    ("it", "low", "Nessuno torna volentieri nella stanza in fondo al corridoio."),
    ("pt", "neutral", "O jardineiro deixou as tesouras novas ao lado do poço, como sempre."),
    ("pt", "loud", "Segurem bem a corda, que a onda que vem aí é enorme!"),
    ("pt", "whisper", "Fala baixinho, o meu irmão ainda não sabe nada desta surpresa."),
    ("pt", "fast", "Perdi o comboio, perdi o chapéu e agora não encontro os meus óculos."),
    ("pt", "slow", "A tarde caía devagar sobre os telhados molhados da cidade antiga."),
    ("pt", "high", "Que maravilha, plantei uma semente e nasceram cinco girassóis!"),
    ("pt", "low", "Aquilo que a montanha engole, a montanha nunca mais devolve."),
    ("hi", "neutral", "मेरी बहन हर सुबह छत पर बैठकर पुराने गीत गाती है।"),
    ("hi", "loud", "अरे, जल्दी दरवाज़ा बंद करो, बाहर बहुत तेज़ आँधी आ रही है!"),
    ("hi", "slow", "नदी के उस पार एक बूढ़ा पेड़ है, जिसके नीचे सब आराम करते हैं।"),
    ("hi", "fast", "चलो चलो, बाज़ार बंद होने से पहले हमें सब्ज़ी और दूध लाना है।"),
    ("hi", "low", "उस पुरानी हवेली में रात को कोई नहीं जाता, समझे तुम?"),
    ("de", "neutral", "Im Schuppen hinter dem Haus stehen noch vier Kisten mit alten Büchern."),
    ("de", "loud", "Halt, stehen bleiben, die Brücke ist seit gestern Abend gesperrt!"),
    ("de", "whisper", "Leise, sonst wacht der Hund auf und bellt die ganze Straße zusammen."),
    ("de", "fast", "Ich habe nur fünf Minuten, also sag mir schnell, was wir noch brauchen."),
    ("de", "slow", "Am Rand des Waldes lag ein See, den niemand je gemessen hatte."),
    ("de", "high", "Nein, wie schön, der kleine Igel trinkt ja wirklich aus der Schale!"),
    ("de", "low", "Wer diesen Turm betritt, der sollte vorher seine Schritte zählen."),
)


def everyday(count: int, words: tuple[int, int], rng: np.random.Generator, said: set) -> list[str]:
    """``count`` English sentences of daily life with so many words each, none of them in ``said``.

    They are added to ``said``, which holds all that is said in any corpus.
    """
    return _fresh(lambda: sentences(1, rng)[0], count, words, said)


def narrated(count: int, words: tuple[int, int], rng: np.random.Generator, said: set) -> list[str]:
    """As `everyday`, but as in a book that is read aloud."""
    return _fresh(lambda: _tale(rng), count, words, said)


def _tale(rng: np.random.Generator) -> str:
    form = TALE_FORMS[rng.integers(len(TALE_FORMS))]

    def choose(slot):
        choices = TALE[slot[1]].split("|")
        return choices[rng.integers(len(choices))]

    text = re.sub(r"\{(\w+)\}", choose, form)
    return text[0].upper() + text[1:]


def _fresh(make, count, words, said):
    made = []
    while len(made) < count:
        text = make()
        if words[0] <= len(text.split()) <= words[1] and text not in said:
            said.add(text)
            made.append(text)
    return made
