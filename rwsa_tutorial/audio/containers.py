"""What the bytes of a sound file hold, whatever length its header states.

Headers of streamed, cut and joined files state a wrong length or none, and libsndfile believes
them. `held` looks through the structure of the file alone, without decoding, and gives libsndfile
views of it whose headers are right.
"""

import io
import os
import re
import struct
import zlib
from dataclasses import dataclass

UNKNOWN_32 = 0xFFFFFFFF  # libsndfile takes this for "to the end of the file"
UNKNOWN_31 = range(0x7FFFEF00, 0x80000000)
FLAC_FRAME = 65_535, 10  # most samples in a FLAC frame, fewest bytes that it can take
TAG_FRAMES = (b"Xing", b"Info")
ID3V1 = 128  # bytes of such a tag at a file's end
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # what may lie between MP3s that are joined
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class Held:
    """links: views to be decoded one after the other. cut: the file ends before its sound does.

    There is no link where there is no sound. gaps: sound is missing or damaged before the end.
    whole: the one view whose length libsndfile states rightly, to seek in; None if there is none.
    stated: samples that a header promises, where the links do not tell libsndfile. rest: bytes
    behind the sound that are no part of the file's structure.
    """

    links: list
    cut: bool = False
    whole: "View | None" = None
    stated: int | None = None
    rest: int = 0
    gaps: bool = False

    @classmethod
    def one(cls, view: "View", cut: bool = False, rest: int = 0) -> "Held":
        return cls([view], cut, view, rest=rest)


class View:
    """`head` followed by the bytes start to stop of a file, as a file that can be read.

    error: the OSError that ended reading, which libsndfile would take for the end of the file.
    """

    error = None

    def __init__(self, file: io.IOBase, start: int, stop: int, head: bytes = b""):
        self._file, self._start, self._head, self._at = file, start, head, 0
        self._size = len(head) + stop - start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {0: 0, 1: self._at, 2: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        count = left if count < 0 else min(count, left)
        data = self._head[self._at : self._at + count]
        if len(data) < count:
            beyond = self._at + len(data) - len(self._head)
            try:
                data += _at(self._file, self._start + beyond, count - len(data))
            except OSError as error:
                self.error = error
        self._at += len(data)
        return data


def held(file: io.IOBase) -> Held:
    """What a seekable binary file holds: `Held`. Of an unknown kind: one view of all of it."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return Held([])
    magic = _at(file, 0, 4)
    kinds = {b"OggS": _ogg, b"fLaC": _flac, b".snd": _au, b"NIST": _nist}
    look = _chunks if magic in CHUNKS else kinds.get(magic, _mpeg)
    return look(file, size) or Held.one(View(file, 0, size))


def _at(file, place, count):
    file.seek(place)
    return file.read(count)


def _patched(file, size, place, data):
    """A view of the whole file in which `data` lies at `place`."""
    return View(file, place + len(data), size, _at(file, 0, place) + data)


# Of each kind: first chunk, length of a name, format of a size, alignment, names of the sound's
# chunk, whether a chunk's size counts its own header.
CHUNKS = {
    b"RIFF": (12, 4, "<I", 2, b"data", False),
    b"RF64": (12, 4, "<I", 2, b"data", False),
    b"FORM": (12, 4, ">I", 2, b"SSND BODY", False),  # of AIFF, of 8SVX and 16SV
    b"caff": (8, 4, ">q", 1, b"data", False),
    b"riff": (40, 16, "<q", 8, b"data", True),  # W64
}


def _chunks(file, size):
    kind = _at(file, 0, 4)
    place, named, form, align, wanted, whole = CHUNKS[kind]
    width = struct.calcsize(form)
    length_at = long_size = None
    while len(header := _at(file, place, named + width)) == named + width:
        (stated,) = struct.unpack(form, header[named:])
        begin = place + named + width
        if header[:4] == b"ds64":
            length_at = begin + 8
            (long_size,) = struct.unpack("<q", _at(file, length_at, 8).ljust(8, b"\0"))
        if header[:4] in wanted.split():
            break
        if not _is_name(header[:4]):
            return None
        stated -= (named + width) * whole
        if stated < 0:
            return None
        place = begin + -(-stated // align) * align
    else:
        return None
    there = size - begin
    if kind == b"RF64" and stated == UNKNOWN_32 and long_size is not None:
        stated, form = long_size, "<q"
    else:
        length_at = place + named
    stated -= (named + width) * whole
    # what programs put there that write to a pipe: 0, -1, or about 2 or 4 GiB
    open_end = stated <= 0 or stated in UNKNOWN_31 or (width == 4 and stated >= 0xFFFFF000)
    # a size of 32 bits that has overflowed
    open_end |= width == 4 and there > UNKNOWN_32 and (there - stated) % 2**32 < 2**16
    cut = stated > there and not open_end
    if not (open_end or cut):
        after = begin + -(-stated // align) * align
        # of a W64, libsndfile would read all that follows as sound
        stop = begin + stated if kind == b"riff" else size
        return Held.one(View(file, 0, stop), rest=_rest(file, size, after))
    if kind == b"RIFF" and there > UNKNOWN_32:
        return Held.one(_as_rf64(file, size, place), cut)
    if form == "<I" or kind == b"FORM":
        right = struct.pack(form, min(there, UNKNOWN_32))
    else:
        right = struct.pack(form, there + (named + width) * whole)
    return Held.one(_patched(file, size, length_at, right), cut)


def _is_name(name):
    return name.isascii() and name.decode().isprintable()


def _rest(file, size, place):
    """Bytes from `place` on, unless a chunk, a tag or mere filling lies there."""
    name = _at(file, place, 4)
    begins_anew = name in CHUNKS or name == b".snd"
    harmless = len(name) < 4 or name[:3] in (b"ID3", b"TAG") or not any(name) or _is_name(name)
    return 0 if harmless and not begins_anew else size - place


def _as_rf64(file, size, place):
    """A view of a WAV file, whose chunk of sound lies at `place`, with sizes of 64 bits."""
    sizes = struct.pack("<QQQI", size + 28, size - place - 8, 0, 0)
    between = _at(file, 12, place - 12)
    head = b"RF64\xff\xff\xff\xffWAVE" + b"ds64" + struct.pack("<I", len(sizes)) + sizes
    return View(file, place + 8, size, head + between + b"data\xff\xff\xff\xff")


def _au(file, size):
    begin, stated = struct.unpack(">II", _at(file, 4, 8).ljust(8, b"\0"))
    cut = begin + stated > size and stated != UNKNOWN_32
    if stated and not cut:
        rest = 0 if stated == UNKNOWN_32 else _rest(file, size, begin + stated)
        return Held.one(View(file, 0, size), rest=rest)
    view = _patched(file, size, 8, struct.pack(">I", UNKNOWN_32))
    return Held.one(view, cut and stated not in UNKNOWN_31)


def _nist(file, size):
    view, stated = View(file, 0, size), re.search(rb"sample_count -i (\d+)", _at(file, 0, 1024))
    return Held([view], False, view, int(stated[1]) if stated else None)


def _flac(file, size):
    """With the stated number of samples taken out, the decoder goes on to the end of the data."""
    header = _at(file, 0, 26)
    if len(header) < 26 or header[4] & 0x7F:
        return None  # the first block must be STREAMINFO
    total = int.from_bytes(header[21:26], "big") & (2**36 - 1)
    most, fewest = FLAC_FRAME
    size -= ID3V1 * (_at(file, max(0, size - ID3V1), 3) == b"TAG")
    believable = 0 < total <= size / fewest * most
    place, last = 4, False
    while not last and len(block := _at(file, place, 4)) == 4:
        last, place = bool(block[0] & 0x80), place + 4 + int.from_bytes(block[1:], "big")
    if last and place == size and not total:
        return Held([])  # libsndfile would call it damaged
    open_ended = _patched(file, size, 21, bytes([header[21] & 0xF0, 0, 0, 0, 0]))
    return Held([open_ended], False, View(file, 0, size) if believable else None, total or None)


def _ogg(file, size):
    """Joined streams are split where a first page follows one that is none.

    A decoder passes over a page that is damaged and says nothing: sums and numbers of pages tell.
    """
    starts, place, beginning, ended, gaps, numbers = [], 0, False, False, False, {}
    while place < size:
        header = _at(file, place, 27)
        if header[:4] != b"OggS" or len(header) < 27:
            following = _find(file, b"OggS", place + 1)
            if following is None:
                break
            place = following
            continue
        if header[5] & 2 and not beginning:
            starts.append(place)
        beginning, last = bool(header[5] & 2), bool(header[5] & 4)
        sizes = file.read(header[26])
        stop = place + 27 + len(sizes) + sum(sizes)
        page = header + sizes + file.read(sum(sizes))
        serial, number, stated = struct.unpack("<III", header[14:26])
        good = stop <= size and _page_sum(page) == stated
        gaps |= (stop <= size and not good) or not (beginning or number == numbers.get(serial))
        numbers[serial] = number + 1
        ended = last and good
        place = stop if good else place + 1
    if not starts:
        return None
    edges = zip(starts, [*starts[1:], size], strict=True)
    links = [View(file, *edge) for edge in edges]
    return Held(links, not ended, links[0] if len(links) == 1 else None, gaps=gaps)


def _page_sum(page):
    """The checksum of an OGG page, by zlib's, which takes the bits the other way round."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    found = (zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "little")
    return int.from_bytes(found.translate(MIRRORED), "big")


def _find(file, text, place):
    while len(data := _at(file, place, 1 << 20)) >= len(text):
        if (at := data.find(text)) >= 0:
            return place + at
        place += len(data) - len(text) + 1
    return None


# kbit/s by layer (1, 2, 3) of MPEG-1, and of MPEG-2 and 2.5
_HIGH = {
    1: range(0, 449, 32),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_LOW = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


@dataclass(frozen=True)
class _Frame:
    """An MPEG audio frame's header: what must not change in a stream, and its length in bytes."""

    kind: tuple  # version, layer, rate
    length: int
    samples: int
    side: int  # where a Xing or Info tag would lie


def _frame(header):
    """The frame of these 4 bytes; None if they are no header, or of the rare free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)  # 3: MPEG-1, 2: 2, 0: 2.5
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    kbits = (_HIGH if version == 3 else _LOW)[layer][bits]
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    unit = 4 if layer == 1 else 1
    length = (samples // 8 // unit * kbits * 1000 // hertz + (header[2] >> 1 & 1)) * unit
    mono = header[3] >> 6 == 3
    side = 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))
    return _Frame((version, layer, hertz), length, samples, side)


def _mpeg(file, size):
    """Joined files are split where a frame with a tag lies, or the frames that one states end."""
    begin = _after_id3(file, 0)
    first = _frame(_at(file, begin, 4))
    if first is None or first.kind[1] != 3 or _frame(_at(file, begin + first.length, 4)) is None:
        return None
    links, cut, gaps = [], False, False  # of links: [start, frames, stated or None]
    place, kind = begin, first.kind
    while place + 4 <= size:
        data = _at(file, place, 60)
        frame = _frame(data[:4])
        begins_anew = frame is not None and frame.kind != kind and _goes_on(file, place, frame)
        if not begins_anew and (frame is None or frame.kind != kind):
            place = _next_frame(file, place, size, kind)
            gaps |= place < size and not data.startswith(TAGS)
            continue
        if place + frame.length > size:
            cut = True
            break
        tag, kind = _stated(data, frame), frame.kind
        if tag is not None or begins_anew or not links or links[-1][1] == links[-1][2]:
            links.append([place, 0 if tag is not None else 1, tag])
        else:
            links[-1][1] += 1
        place += frame.length
    # encoders' own counts differ by a frame or two, that of the tag or of silence at the end
    links = links[:1] + [link for link in links[1:] if link[2] is not None or link[1] > 2]
    short = [stated is not None and found + 1 < stated for _, found, stated in links]
    views = []
    for number, (start, found, stated) in enumerate(links):
        stop = links[number + 1][0] if number + 1 < len(links) else size
        head = _at(file, 0, begin) if number == 0 else b""
        if stated is None:
            head += _tag_frame(_at(file, start, 4), found)
        views.append(View(file, start, stop, head))
    cut = cut or (any(short) and not gaps)
    whole = views[0] if len(views) == 1 and not any(short) else None
    return Held(views, cut, whole, gaps=gaps)


def _goes_on(file, place, frame):
    """Whether three more frames of the same kind follow, as in garbage they would not."""
    kind = frame.kind
    for _ in range(3):
        place += frame.length
        frame = _frame(_at(file, place, 4))
        if frame is None or frame.kind != kind:
            return False
    return True


def _after_id3(file, place):
    header = _at(file, place, 10)
    if header[:3] != b"ID3" or len(header) < 10:
        return place
    length = 0
    for byte in header[6:10]:
        length = length << 7 | byte & 0x7F
    return place + 10 + length


def _next_frame(file, place, size, kind):
    """Where, after what is none, a frame of this kind is followed by another; else the end."""
    if _at(file, place, 3) == b"ID3":
        return _after_id3(file, place)
    place += 1
    while len(data := _at(file, place, 1 << 16)) > 3:
        for match in re.finditer(rb"\xff[\xe0-\xff]", data):
            at = match.start()
            frame = _frame(data[at : at + 4])
            if frame and frame.kind == kind:
                stop = place + at + frame.length
                following = _frame(_at(file, stop, 4))
                if stop == size or (following and following.kind == kind):
                    return place + at
        place += len(data) - 3
    return size


def _stated(data, frame):
    """How many frames a Xing or Info tag in this frame states; None if there is no tag."""
    if data[frame.side : frame.side + 4] in TAG_FRAMES:
        flags, frames = struct.unpack(">II", data[frame.side + 4 : frame.side + 12])
        return frames if flags & 1 else None
    if data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big")
    return None


def _tag_frame(header, frames):
    """A frame that states the number of those that follow, for a stream that has none."""
    # the highest bit rate, no checksum, no padding
    header = bytes([header[0], header[1] | 1, 0xE0 | header[2] & 0x0C, header[3]])
    frame = _frame(header)
    data = header.ljust(frame.side, b"\0") + b"Xing" + struct.pack(">II", 1, frames)
    return data.ljust(frame.length, b"\0")
