"""The public checkpoints: where they lie, what they are, what one may do with them.

Addresses, stems, weights of bags and hashes as the original packages hold them: demucs
2.0.3 and 4.1.0, demucs 1 (its repository at commit 25dada5), openunmix 1.3.0,
torchaudio 2.11. Demucs and Open-Unmix publish the first 8 digits of the sha256, as a
part of the file's name; where this table has all 64, they come from people who hashed
the file, and agree with the 8. A size that nobody has stated is None.

Scores are those of the authors, in dB. "csdr" is BSS Eval v4: median over 1 s frames,
median over the 50 test tracks, mean over the stems.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DRUMS_FIRST = ("drums", "bass", "other", "vocals")  # the order of Demucs
SIX = (*DRUMS_FIRST, "guitar", "piano")
VOCALS_FIRST = ("vocals", "drums", "bass", "other")  # the order of Open-Unmix
META = "https://dl.fbaipublicfiles.com/demucs/"
ZENODO = "https://zenodo.org/records/"
PYTORCH = "https://download.pytorch.org/torchaudio/models/"

RESEARCH = (
    "for research only, not MIT as the code is (their author, "
    "github.com/facebookresearch/demucs/issues/327)"
)
MIT = "MIT: any use (the Zenodo record); trained on MUSDB18, which is for education"
NON_COMMERCIAL = "CC BY-NC-SA 4.0: not for commercial use; share alike"
UNKNOWN = "unknown: torchaudio says that the terms of the training data may apply"

QUANTIZED = "its weights are packed by DiffQ, which only the package diffq unpacks"
OLDER = "its members are time-only and old hybrid variants of Demucs v3"
VERSION_1 = (
    "saved by Demucs v1, which nothing here was compared with; load its successor"
)
SPEECH = "it is torchaudio's Conv-TasNet for speech, which has skip paths and biases"


@dataclass(frozen=True)
class WeightFile:
    """A file to fetch."""

    address: str
    sha256: str | None = None  # in full, or its first digits if no more is published
    size: int | None = None  # bytes

    @property
    def name(self) -> str:
        """What the file is called, there and here."""
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Published:
    """A checkpoint, or a bag of them, under the name that its authors gave it."""

    model: str  # registry name
    files: tuple[WeightFile, ...]
    stems: tuple[str, ...]  # in the order of the checkpoint
    license: str  # and what it allows
    trained_on: str
    score: str | None = None  # with its definition and source
    segment_limit: float | None = None  # seconds
    weights: tuple[tuple[float, ...], ...] | None = None  # of a bag: (files, stems)
    # Fields that the files do not tell
    config: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None  # why no model of ours can hold it


KNOWN = {  # first digits of the sha256 -> all of them, size
    "8726e21a": (
        "8726e21a993978c7ba086d3872e7608d7d5bfca646ca4aca459ffda844faa8b4",
        84_141_911,
    ),
    "b62c91ce": (
        "b62c91cedbc7a066f1778ead5b5cecb377aa3a46a31af1cce7c5c8769339d083",
        35_637_796,
    ),
}


def _files(folder: str, names: str, suffix: str) -> tuple[WeightFile, ...]:
    """Files whose names end in the first digits of their hash."""
    digits = [name.replace("_", "-").rpartition("-")[2] for name in names.split()]
    return tuple(
        WeightFile(f"{folder}{name}{suffix}", *KNOWN.get(start, (start,)))
        for name, start in zip(names.split(), digits, strict=True)
    )


def _demucs_4() -> dict[str, Published]:
    folder = f"{META}hybrid_transformer/"
    fine_tuned = (
        "f7e0c4bc-ba3fe64a d12395a8-e57c48e6 92cfc3b6-ef3bcb9c 04573f0d-f3cf25b2"
    )
    facts: dict[str, Any] = {
        "license": RESEARCH,
        "trained_on": "MUSDB18-HQ and 800 songs",
        "segment_limit": 7.8,
    }
    return {
        "htdemucs": Published(
            *("htdemucs", _files(folder, "955717e8-8726e21a", ".th"), DRUMS_FIRST),
            score="usdr 7.81 on 50 clips of MUSDB18-7s (measured with demucs 4.1.0)",
            **facts,
        ),
        "htdemucs_ft": Published(
            *("htdemucs", _files(folder, fine_tuned, ".th"), DRUMS_FIRST),
            weights=tuple(tuple(float(i == k) for i in range(4)) for k in range(4)),
            score="csdr 9.00 on MUSDB18-HQ (README of demucs 4.1.0)",
            **facts,
        ),
        "htdemucs_6s": Published(
            *("htdemucs", _files(folder, "5c90dfd2-34c22ccb", ".th"), SIX), **facts
        ),
    }


def _demucs_3() -> dict[str, Published]:
    def bag(names: str, folder: str = "mdx_final", **facts: Any) -> Published:
        files = _files(f"{META}{folder}/", names, ".th")
        facts = {"license": RESEARCH, "trained_on": "MUSDB18-HQ", **facts}
        return Published("hdemucs", files, DRUMS_FIRST, **facts)

    hybrid = "fa0cb7f9-100d8bf4 902315c2-b39ce9c9"
    time_only = "9a6b4851-03af0aa6 1ef250f1-592467ce"
    mdx = "0d19c1c6-0f06f20e 7ecf8ec1-70f50cc9 c511e2ab-fe698775 7d865c68-3d5dd56b"
    mdx_extra = (
        "e51eebcc-c1b80bdd a1d90b5c-ae9d2452 5d2d6c55-db83574e cfa93e08-61801ae1"
    )
    mdx_q = "6b9c2ca1-3fd82607 b72baf4e-8778635e 42e558d4-196e0e1b 305bc58f-18378783"
    extra_q = "83fc094f-4a16d450 464b36d7-e5a9386e 14fc6a69-a89dd0ee 7fd6ef75-a905dd85"
    extra = {"trained_on": "MUSDB18-HQ with its test set, and more songs"}
    segment = {"segment": 44.0}
    return {
        "hdemucs_mmi": bag(
            "75fc33f5-1941ce65",
            folder="hybrid_transformer",
            trained_on="MUSDB18-HQ and 800 songs",
            config=segment,
        ),
        "repro_mdx_a_hybrid_only": bag(hybrid, config=segment),
        "repro_mdx_a_time_only": bag(time_only, refused=OLDER),
        "repro_mdx_a": bag(
            f"{time_only} {hybrid}",
            refused=OLDER,
            score="csdr 7.64 on MUSDB18-HQ (demucs' docs/training.md)",
        ),
        "mdx": bag(mdx, refused=OLDER, score="csdr 7.68 on MUSDB18-HQ (Défossez 2021)"),
        "mdx_extra": bag(mdx_extra, refused=OLDER, **extra),
        "mdx_q": bag(mdx_q, refused=QUANTIZED),
        "mdx_extra_q": bag(extra_q, refused=QUANTIZED, **extra),
    }


def _demucs_2() -> dict[str, Published]:
    def single(model: str, name: str, **facts: Any) -> Published:
        files = _files(f"{META}v3.0/", name, ".th")
        facts = {"license": RESEARCH, "trained_on": "MUSDB18", **facts}
        return Published(model, files, DRUMS_FIRST, **facts)

    extra = {"trained_on": "MUSDB18 and 150 songs"}
    source = "(museval files in demucs' repository)"
    return {
        "demucs": single(
            *("demucs", "demucs-e07c671f"),
            score=f"csdr 6.28 on MUSDB18, 10 shifts {source}",
        ),
        "demucs_extra": single(
            *("demucs", "demucs_extra-3646af93"),
            score=f"csdr 6.79 on MUSDB18, 10 shifts {source}",
            **extra,
        ),
        "demucs48_hq": single(
            *("demucs", "demucs48_hq-28a1282c"), trained_on="MUSDB18-HQ"
        ),
        "demucs_quantized": single(
            *("demucs", "demucs_quantized-07afea75"), refused=QUANTIZED
        ),
        "tasnet": single(
            *("conv_tasnet", "tasnet-beb46fac"),
            score=f"csdr 5.73 on MUSDB18 {source}",
        ),
        "tasnet_extra": single(*("conv_tasnet", "tasnet_extra-df3777b2"), **extra),
    }


def _demucs_1() -> dict[str, Published]:
    hashes = """
        demucs f6c4148ba0dc92242d82d7b3f2af55c77bd7cb4ff1a0a3028a523986f36a3cfd
        demucs_extra 3331bcc5d09ba1d791c3cf851970242b0bb229ce81dbada557b6d39e8c6a6a87
        light 79d1ee3c1541c729c552327756954340a1a46a11ce0009dea77dc583e4b6269c
        light_extra 9e9b4af564229c80cc73c95d02d2058235bb054c6874b3cba4d5b26943a5ddcb
        tasnet be56693f6a5c4854b124f95bb9dd043f3167614898493738ab52e25648bec8a2
        tasnet_extra 0ccbece3acd98785a367211c9c35b1eadae8d148b0d37fe5a5494d6d335269b5
    """
    return {
        name if "light" in name else f"{name}_v1": Published(
            model="conv_tasnet" if "tasnet" in name else "demucs",
            files=(WeightFile(f"{META}v2.0/{name}.th", sha256),),
            stems=DRUMS_FIRST,
            license=RESEARCH,
            trained_on="MUSDB18 and 150 songs" if "extra" in name else "MUSDB18",
            refused=VERSION_1,
        )
        for name, sha256 in map(str.split, hashes.strip().splitlines())
    }


def _open_unmix() -> dict[str, Published]:
    def music(
        license: str, data: str, score: str, record: str, names: str
    ) -> Published:
        files = _files(f"{ZENODO}{record}/files/", names, ".pth")
        score = f"csdr {score} (README of openunmix 1.3.0)"
        return Published("open_unmix", files, VOCALS_FIRST, license, data, score)

    umx = "vocals-c8df74a5 drums-5a48008b bass-646024d3 other-f8e132cc"
    umxhq = "vocals-b62c91ce drums-9619578f bass-8d85a5bd other-b52fbbf7"
    umxl = "vocals-bccbd9aa drums-69e0ebd4 bass-2ca1ce51 other-c8c5b3e6"
    private, umxse = "private stems, compressed", "speech_f5e0d9f9 noise_04a6fc2d"
    return {
        "umx": music(MIT, "MUSDB18", "5.33 on MUSDB18", "3370486", umx),
        "umxhq": music(MIT, "MUSDB18-HQ", "5.41 on MUSDB18-HQ", "3370489", umxhq),
        "umxl": music(NON_COMMERCIAL, private, "6.32 on MUSDB18", "5069601", umxl),
        "umxse": Published(
            "open_unmix",
            _files(f"{ZENODO}3786908/files/", umxse, ".pth"),
            ("speech", "noise"),
            license="unknown",
            trained_on="Voicebank+Demand, 28 speakers",
            config={"sample_rate": 16000, "hop_length": 512},
        ),
    }


def _torchaudio() -> dict[str, Published]:
    plus = WeightFile(
        f"{PYTORCH}hdemucs_high_trained.pt",
        "a004b2790d73ffeaa535db458a1a79b539dfdbafbccc31f275d07e632ebd7816",
        334_697_255,
    )
    only = WeightFile(f"{PYTORCH}hdemucs_high_musdbhq_only.pt")
    speech = WeightFile(f"{PYTORCH}conv_tasnet_base_libri2mix.pt")
    songs = "MUSDB18-HQ with its test set, and 150 songs"
    speakers = ("speaker 1", "speaker 2")
    return {
        "hdemucs_high_musdb_plus": Published(
            *("hdemucs", (plus,), DRUMS_FIRST, UNKNOWN, songs)
        ),
        "hdemucs_high_musdb": Published(
            *("hdemucs", (only,), DRUMS_FIRST, UNKNOWN, "MUSDB18-HQ")
        ),
        "convtasnet_base_libri2mix": Published(
            *("conv_tasnet", (speech,), speakers, UNKNOWN, "Libri2Mix"), refused=SPEECH
        ),
    }


PUBLISHED: Mapping[str, Published] = {
    **_demucs_4(),
    **_demucs_3(),
    **_demucs_2(),
    **_demucs_1(),
    **_open_unmix(),
    **_torchaudio(),
}
