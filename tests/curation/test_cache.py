"""Curated films on disk: what is damaged is named, dropped and made again."""

import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation import step as curation
from rahelpers.curation.cache import FilmCache, read_sealed, write_sealed
from rahelpers.curation.film import curate_film, pack_hands
from rahelpers.curation.step import curate
from rahelpers.data.sources.registry import list_films

DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut in its checksum": lambda content: content[:7],
    "one bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "one bit of its checksum": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "something else": lambda content: b"\x93NUMPY" + content,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_named_dropped_and_made_again(tmp_path, capsys, damage):
    config = make_config(n_patients=12, image_size=48, run_dir=str(tmp_path / "runs" / "a"))
    film = list_films(config)[0]
    cache = FilmCache(tmp_path / "films", 48, with_fingerprint=False)
    key, curated = cache.key(film), curate_film(film, 48, False)
    assert not cache.has(key)
    cache.put(key, pack_hands(curated))
    assert cache.has(key) and cache.get(key)[0].row["patient_id"] == film.row["patient_id"]
    file = cache.path(key)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert not cache.has(key) and not file.exists()
    assert f"{file} is damaged" in capsys.readouterr().out
    [(again, hands)] = curation._read_films([film], cache, "")
    assert again == key and cache.has(key)
    assert (hands[0].image == curated[0].image).all() and hands[0].row == curated[0].row


def test_a_damaged_list_of_pairs_is_made_again(tmp_path):
    file = tmp_path / "pairs" / "a.csv"
    assert read_sealed(file) is None
    write_sealed(file, b"image_a,patient_a\n")
    assert read_sealed(file) == b"image_a,patient_a\n"
    for damage in DAMAGES.values():
        file.write_bytes(damage(file.read_bytes()))
        assert read_sealed(file) is None and not file.exists()
        write_sealed(file, b"image_a,patient_a\n")


@pytest.mark.slow
def test_a_cohort_from_a_damaged_cache_is_the_same(tmp_path):
    def run(name):
        settings = {"n_patients": 12, "image_size": 32, "run_dir": str(tmp_path / name)}
        return Run(make_config(**settings))

    first = curate(run("one"))
    entries = [p for p in (tmp_path / ".cache").rglob("*") if p.is_file()]
    for entry, damage in zip(entries, list(DAMAGES.values()) * len(entries), strict=False):
        entry.write_bytes(damage(entry.read_bytes()))
    second = curate(run("two"))
    assert first.manifest.equals(second.manifest)
    assert (first.images == second.images).all()
