"""One record per source: its origin, its terms, what it can and cannot answer, and its files."""

from __future__ import annotations

from dataclasses import dataclass

from rahelpers.core.config import SOURCES, near_match


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    Attributes
    ----------
    url : str
    sha256 : str
        Hexadecimal.
    name : str
        Name of the file on disk.
    """

    url: str
    sha256: str
    name: str


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """What a person must know about a source before using it.

    Attributes
    ----------
    name : str
        The value of `--source`.
    title, address, licence, citation, size : str
    can, cannot : tuple of str
        Questions that it can answer, and questions that it cannot.
    layout : str
        Files below the dataset's folder.
    by_hand : str
        How to place the files without `rahelpers data fetch`.
    repo : str
        Dataset on the Hugging Face Hub; '' if it is not from there.
    revision : str
        Pinned commit of `repo`; '' if none is recorded here, and the first fetch pins one in
        SOURCE.json.
    files : tuple of RemoteFile
        Files to fetch from plain addresses.
    """

    name: str
    title: str
    address: str
    licence: str
    citation: str
    size: str
    can: tuple[str, ...]
    cannot: tuple[str, ...]
    layout: str = ""
    by_hand: str = ""
    repo: str = ""
    revision: str = ""
    files: tuple[RemoteFile, ...] = ()

    @property
    def is_remote(self) -> bool:
        """True if the films have to be downloaded."""
        return bool(self.repo or self.files)


PHANTOM = DatasetRecord(
    name="phantom",
    title="The embedded phantom cohort",
    address="rahelpers/phantom/ in this project",
    licence="Apache-2.0, as the project",
    citation="This project; docs/phantom.md gives the source of each number",
    size="nothing is stored; the films are drawn when a run starts",
    can=(
        "whether a network, a heat map or a region score finds lesions that are known exactly",
        "what shortcuts, spectrum and sample size do to a score",
    ),
    cannot=("how well a network works on patients: no person was imaged",),
)

FOLDER = DatasetRecord(
    name="folder",
    title="Your own films in a folder, with a table",
    address="your disk",
    licence="yours",
    citation="yours",
    size="yours",
    can=("what your label column says, on your patients",),
    cannot=("anything about other hospitals, unless one is held out (external_centre)",),
    layout="a folder of PNG, JPEG, TIFF, BMP or DICOM files, and a CSV with one row per film",
    by_hand="see 'Your own films' in README.md",
)

RAM_H1200 = DatasetRecord(
    name="ram-h1200",
    title="RAM-H1200: whole hands with SvdH scores",
    address="https://huggingface.co/datasets/TokyoTechMagicYang/RAM-H1200-v1",
    # One copy of the card says CC BY 4.0, another BY-NC-SA: what counts is the card at the time of
    # the download, and fetch prints it.
    licence=(
        "CC BY 4.0 by its card (another copy says CC BY-NC-SA 4.0); `data fetch` prints what the"
        " card says at that time"
    ),
    citation="RAM-H1200, arXiv 2605.05616 (2026); code: github.com/YSongxiao/RAM-H1200",
    size="1,200 films of six centres, over 12 GB",
    can=(
        "erosive hand (any SvdH erosion score above 0) against hand without erosions; damage (sum"
        " of erosion and narrowing scores)",
        "whether a heat map covers the erosions: it has pixel masks",
        "whether a model still works in a hospital that it has not seen (external_centre)",
    ),
    cannot=(
        "RA against non-RA: 1,120 films against 80, only two of them in the official test split",
        "anything on the official split: 17 patients are in more than one part of it; this project"
        " makes its own split, by patient",
    ),
    layout="""Metadata.xlsx
Segmentation/{train,val,test}/*.bmp
Segmentation/{train,val,test}/_annotations_bone_rle.coco.json
Segmentation/{train,val,test}/_annotations_be_rle.coco.json
SvdH_Scoring/SvdH_BE_Scoring/{train,val,test}/_annotation_be_scores.json
SvdH_Scoring/SvdH_JSN_Scoring/{train,val,test}/_annotation_jsn_scores.json""",
    by_hand=(
        "git clone https://huggingface.co/datasets/TokyoTechMagicYang/RAM-H1200-v1 (with git-lfs),"
        " or download the files in a browser"
    ),
    repo="TokyoTechMagicYang/RAM-H1200-v1",
)

RAM_W600 = DatasetRecord(
    name="ram-w600",
    title="RAM-W600: wrists with SvdH erosion scores",
    address="https://huggingface.co/datasets/TokyoTechMagicYang/RAM-W600",
    licence="CC BY 4.0 by its card; `data fetch` prints what the card says at that time",
    citation=(
        "RAM-W600: A Multi-Task Wrist Dataset and Benchmark for Rheumatoid Arthritis, NeurIPS 2025,"
        " arXiv 2507.05193"
    ),
    size="1,048 wrists of 388 patients; 618 with bone masks, 800 scored (82 % erosive)",
    can=("erosive wrist (any of six SvdH erosion scores above 0) against wrist without erosions",),
    cannot=(
        "anything about fingers: the films show wrists",
        "how well a model works without shortcuts: in a public sample of 50, whether a file is"
        " stored in grey or in colour predicts the label with an AUC of 0.79",
    ),
    layout="""Metadata.xlsx
BoneSegmentation/images/**/*.bmp
BoneSegmentation/masks/**/*.npy
JointLocationDetection/images/**/*.bmp
JointLocationDetection/Joints.coco.json
SvdHBEScoreClassification/JointBE_SvdH_GT.json
SvdHBEScoreClassification/{train,val,test}/<id>_<L|R>/{Metacarpal1st,Trapzium,Scaphoid,Lunate,DistalRadius,DistalUlna}.bmp""",
    by_hand=(
        "git clone https://huggingface.co/datasets/TokyoTechMagicYang/RAM-W600 (with git-lfs), or"
        " download the files in a browser"
    ),
    repo="TokyoTechMagicYang/RAM-W600",
)

# Addresses and checksums are those that public code on GitHub verifies at download (a torchdata
# loader of this dataset). We could not download the files ourselves; if a checksum were wrong, the
# fetch would stop.
_RSNA = "https://s3.amazonaws.com/east1.public.rsna.org/AI/2017/"
RSNA_BONE_AGE = DatasetRecord(
    name="rsna-bone-age",
    title="RSNA Pediatric Bone Age Challenge 2017",
    address="https://www.rsna.org/rsnai/ai-image-challenge/rsna-pediatric-bone-age-challenge-2017",
    licence="non-commercial research and education, with this link and the citation",
    citation=(
        "Halabi SS et al. The RSNA Pediatric Bone Age Machine Learning Challenge. Radiology"
        " 2019;290(2):498-503"
    ),
    size=(
        "14,236 left hands of people aged 0 to 19 years; 12,611 and 1,425 of them with bone age;"
        " about 10 GB"
    ),
    can=("whether reading, curation, training and explanations work on real films: bone age, sex",),
    cannot=(
        "anything about RA: no film was read for it",
        "normal controls for an adult RA class: they are children, so the class would be age",
        "whether two films show the same child: no patient column is published, so every film"
        " counts as a patient of its own",
    ),
    layout="""boneage-training-dataset/<id>.png
train.csv or boneage-training-dataset.csv (id, boneage, male)
Bone Age Validation Set/boneage-validation-dataset-{1,2}/<id>.png
Bone Age Validation Set/Validation Dataset.csv (Image ID, male, Bone Age (months))""",
    by_hand=(
        "download training set, annotations and validation set from the address above; unpack them"
        " and the two zip files inside the validation set"
    ),
    files=(
        RemoteFile(
            _RSNA + "Bone+Age+Training+Set+Annotations.zip",
            "f6373249b6ec85d182c62ab83f05fa76dff90ba03315e455dd6de332dffc7215",
            "Bone Age Training Set Annotations.zip",
        ),
        RemoteFile(
            _RSNA + "Bone+Age+Validation+Set.zip",
            "683ea5398dd9d0730af883e673176a5c6817fd35a5a59331a500fa7affcd36f0",
            "Bone Age Validation Set.zip",
        ),
        RemoteFile(
            _RSNA + "Bone+Age+Training+Set.zip",
            "9eab917f59bf520b4eb10803d33e7007ea3b3c2bd4df1c55aff45bc339b2736a",
            "Bone Age Training Set.zip",
        ),
    ),
)

DATASETS = {record.name: record for record in (PHANTOM, FOLDER, RAM_H1200, RAM_W600, RSNA_BONE_AGE)}


def find_record(name: str) -> DatasetRecord:
    """The record of a source.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest match.

    Examples
    --------
    >>> from rahelpers.data import find_record
    >>> record = find_record("ram-w600")
    >>> record.is_remote, record.repo
    (True, 'TokyoTechMagicYang/RAM-W600')
    """
    if name not in DATASETS:
        raise ValueError(f"there is no source '{name}'{near_match(name, SOURCES)}")
    return DATASETS[name]
