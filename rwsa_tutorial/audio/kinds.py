"""Which kinds of files are read and written, and in which sample format."""

from pathlib import Path

WRITABLE = (".wav", ".flac", ".ogg", ".mp3")
EXTENSIONS = (  # can be read
    *WRITABLE,
    *(".aiff", ".aif", ".aifc", ".aff", ".opus", ".oga", ".mp2", ".mpga", ".wave", ".bwf"),
    *(".rf64", ".w64", ".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".sf", ".ircam", ".avr"),
    *(".svx", ".8svx", ".iff", ".paf", ".pvf", ".sds", ".wve", ".xi", ".htk"),
)
UNREADABLE = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape")  # sound all the same


def kept_subtype(file_type: str, subtype: str, target: str | Path) -> str | None:
    """The sample format of a `Recording` if `target` can sensibly hold it, else None (the default).

    Args:
        file_type, subtype: of the recording; what it holds decides, not its name.
        target: path of the new file.
    """
    import soundfile

    target = Path(target)
    check_extension(target)
    new_type = target.suffix[1:].upper()
    same_type = new_type == {"WAVEX": "WAV", "RF64": "WAV"}.get(file_type, file_type)
    # libsndfile would also put an MP3 stream into a WAV file, which few players expect
    alien = subtype.startswith("MPEG") and new_type != "MP3"
    plain = subtype.startswith(("PCM_", "FLOAT", "DOUBLE"))
    fits = soundfile.check_format(new_type, subtype)
    return subtype if fits and not alien and (plain or same_type) else None


def check_extension(path: str | Path) -> None:
    """Raise ValueError, in words, unless the name ends in .wav, .flac, .ogg or .mp3."""
    if Path(path).suffix.lower() not in WRITABLE:
        raise ValueError(
            f"{path}: the extension says which file type is meant; use {', '.join(WRITABLE)}."
        )


def how_to_convert(path: Path) -> str:
    """A sentence for a file of one of the `UNREADABLE` kinds."""
    path = Path(path)
    return (
        f"{path} cannot be read: convert it first, for example by ffmpeg -i {path.name} "
        f"{path.with_suffix('.flac').name}."
    )
