"""What synthesised voices say: our own sentences, made out of templates.

`sentences` train; in the mini corpora `everyday` and `narrated` are said, each sentence once, and
`ACTED` are lines to be acted in other languages.
"""

import re

import numpy as np

WORDS = {
    "person": "the baker|my neighbour|our teacher|a young pilot|the night nurse|her brother|"
    "the chess player|an old sailor|the gardener|Doctor Hughes|Miss Okafor|my aunt Judith|"
    "George|the bus driver|a visiting judge|the violinist|Thomas|a tired engineer|the vet|"
    "everybody in the village|the whole crew|one of the twins|the shop girl|Zoe|Victoria|"
    "the lighthouse keeper|some of the children|the choir|a young woman from York",
    "did": "fixed|painted|borrowed|hid|carried|measured|described|sold|found|forgot|weighed|"
    "photographed|dropped|cleaned|ordered|noticed|wrapped up|pulled apart|gave away|admired|"
    "looked for|argued about|thought about|joked about|worried about",
    "thing": "the yellow kite|a broken clock|two jars of honey|the garden gate|a map of the coast|"
    "that heavy suitcase|the missing letter|a box of matches|the school piano|a bunch of grapes|"
    "the kitchen shelf|a very thick book|the judge's umbrella|an orange jumper|the frozen pipes|"
    "three wooden chairs|the copper kettle|a pair of gloves|his grandfather's watch|fresh bread|"
    "the engine of the boat|some cheese and fruit|her new bicycle|a small glass fish|cough drops",
    "place": "behind the station|in the back garden|at the harbour|on the third floor|"
    "under the old bridge|near the swimming pool|in the middle of the market|by the fire|"
    "outside the cinema|at the edge of the forest|in a quiet corner|on the way to school|"
    "above the bakery|at the top of the hill|along the river path|beside the tall hedge",
    "time": "on Thursday|just before noon|early this morning|last winter|after the storm|at dusk|"
    "a week ago|in the middle of July|long before breakfast|on New Year's Day|twice this month|"
    "at about half past five|during the power cut|while the others slept|without any hurry",
    "quality": "cheerful|rough|surprisingly light|cold and wet|rather expensive|sharp|smooth|"
    "too quiet|bright green|dusty|fragile|almost empty|as old as the house|quite ordinary|"
    "easy to fix|hard to follow|much better than before|thick|strange|useful|just about right",
    "subject": "the soup|this road|the weather|her voice|the new bridge|the music|that joke|"
    "the water|my left shoe|the whole story|the evening train|the view|your garden|the exam|"
    "the wind|the judge's decision|our kitchen|the last chapter|the ice on the lake",
    "reason": "because the lift was broken|since nobody else had a key|although it was raining|"
    "so that we could leave early|before anyone could ask why|as soon as the bell rang|"
    "unless I am very much mistaken|even though the shop was shut|until the light went out|"
    "while the kettle boiled|if the ferry runs on time|which pleased us all",
    "verb": "wait|laugh|sing|drive|whisper|travel|cook|write|swim|argue|sleep|choose|help|read",
    "number": "three|seven|twelve|fifteen|twenty four|thirty one|forty|fifty six|sixty|"
    "seventy eight|ninety|a hundred and five|two thousand|nine|eleven|eighteen",
    "unit": "minutes|kilometres|eggs|steps|pounds|pages|degrees|litres|years|boxes|euros|voices",
    "say": "said|shouted|asked|thought|admitted|whispered|explained|wrote|promised",
}
TEMPLATES = (
    "{person} {did} {thing} {place}.",
    "{time}, {person} {did} {thing}.",
    "{person} {did} {thing} {reason}.",
    "{subject} was {quality}, and {subject} was {quality} too.",
    "Why is {subject} so {quality}?",
    "Did {person} really {verb} {place} {time}?",
    "It took {number} {unit} to find {thing}.",
    "There were {number} {unit} left, {person} {say}, and {subject} was {quality}.",
    "Please bring {thing} and meet {person} {place}.",
    "I would rather {verb} than {verb} {reason}.",
    "{person} and {person} {did} {thing} {time}.",
    "Nobody could {verb} {place}; {subject} was {quality}.",
    "What happened to {thing} that {person} {did} {time}?",
    "If {subject} is {quality}, turn left and count to {number}.",
    "Leave {thing} {place}, would you?",
    "We heard {person} {verb} {place}, {number} {unit} away.",
    "The number is {number}, {number}, {number}, and then {number}.",
    "You must not {verb} {place}, {person} {say}, {reason}.",
    "How many {unit} are there between {number} and {number}?",
    "{subject} seemed {quality} {reason}.",
    "Yes, {person} {say} so {time}, {reason}.",
    "First {verb}, then {verb}, and tell {person} about {thing}.",
)


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Make `count` English sentences out of the templates: own text, no meaning intended."""
    made = []
    for _ in range(count):
        sentence = TEMPLATES[rng.integers(len(TEMPLATES))]
        while "{" in sentence:
            slot = sentence[sentence.index("{") + 1 : sentence.index("}")]
            choices = WORDS[slot].split("|")
            sentence = sentence.replace(f"{{{slot}}}", choices[rng.integers(len(choices))], 1)
        made.append(sentence[0].upper() + sentence[1:])
    return made


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
    """`count` English sentences of daily life with so many words each, none of them in `said`.

    They are added to `said`, which holds all that is said in any corpus.
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
