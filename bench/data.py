"""How quickly films are read, prepared and delivered, against the plain way in the same run.

    python -m bench.data [--films 12] [--rounds 3]

Goals: near duplicates among 50,000 hashes in at most 10 s and 1 GB; a table of 54,706 rows imported in at most 5 s without
touching pixels; an audit of 3,746 cached films in at most 60 s; a 16-bit 4700 x 2600 RLE DICOM file to a prepared film of 512 px,
per core, no slower than one plain loop of pydicom, pylibjpeg-rle and Pillow, the sandbox included; two workers at least 1.7 times
that; a warm cache delivers at least 2,000 films of 512 px a second on two cores, and memory stays flat.

The plain loop decodes, applies the window and resizes, and checks nothing: no breast mask, no crop, no hash, no child process.
Its result is kept as an uncompressed file, as ours is. Ours is the path of training: ``prepare_all`` into an empty cache. The
start of the worker processes is measured apart, since it is paid once for thousands of films.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from bench.data_sets import bench_audit, bench_pairs, bench_table
from bench.predict import load, write_films
from bench.wording import say_rate, seconds
from mammo_core.data.cache import FilmCache, prepare_all
from mammo_core.data.preprocess import PreparedFilm, prepare
from mammo_core.data.reader import read_film
from mammo_core.training.batches import BatchLoader, FilmSet
from mammo_core.workflows.films import CachedFilms

CANVAS = (512, 512)
READING_GOAL, TWO_WORKERS_GOAL, CACHE_GOAL = 1.0, 1.7, 2000
BATCH = 32
MEMORY_EPOCHS = 40


def plain_prepare(path: Path, target: Path) -> None:
    """One film as a script would prepare it."""
    dataset = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(pixel_array(dataset, decoding_plugin="pylibjpeg"), dataset), dataset)
    small = Image.fromarray((shown / 65535).astype(np.float32)).resize(CANVAS[::-1], Image.Resampling.BILINEAR)
    np.save(target, np.rint(np.asarray(small) * 255).astype(np.uint8))


def bench_reading(folder: Path, paths: list[Path], rounds: int) -> None:
    """Films to prepared ones; the fixed cost of starting workers is taken out by preparing one film and all of them."""
    found: dict[str, list[float]] = {"plain": [], "one worker": [], "two workers": [], "start": []}
    for number in range(rounds + 1):
        plain = seconds(lambda: [plain_prepare(path, folder / "plain.npy") for path in paths])
        starts = [seconds(lambda: ours(folder, paths[:1], 1)) for _ in range(2)]
        one, two = seconds(lambda: ours(folder, paths, 1)), seconds(lambda: ours(folder, paths, 2))
        if number:  # the first round warms
            for name, value in (("plain", plain), ("one worker", one), ("two workers", two), ("start", min(starts))):
                found[name].append(value)
    each = {name: statistics.median(values) / len(paths) for name, values in found.items()}
    start = statistics.median(found["start"]) - each["one worker"]
    single = (statistics.median(found["one worker"]) - statistics.median(found["start"])) / (len(paths) - 1)
    double = (statistics.median(found["two workers"]) - statistics.median(found["start"])) / (len(paths) - 2)
    print(f"starting a worker {start:.2f} s, once; left out of the two lines below")
    ratio, twice = each["plain"] / single, single / double
    say_rate("reading, one worker", 1 / single, 1 / each["plain"], "plain loop", (f"{READING_GOAL:g} x", ratio >= READING_GOAL))
    say_rate("reading, two workers", 1 / double, 1 / single, "one worker", (f"{TWO_WORKERS_GOAL} x", twice >= TWO_WORKERS_GOAL))


def ours(folder: Path, paths: list[Path], workers: int) -> None:
    home = folder / "cache"
    index = prepare_all(FilmCache(home), [(path.stem, path) for path in paths], CANVAS, workers)
    if index.failures:
        raise ValueError(index.failures[0][1])
    shutil.rmtree(home)


def bench_cache(folder: Path, path: Path, films: int) -> None:
    """A warm cache through the loader of training, and its memory over many epochs."""
    cache, film = FilmCache(folder / "warm"), prepare(read_film(path), CANVAS)
    keys = {f"film_{number}": f"{number:064x}" for number in range(films)}
    rng = np.random.default_rng(0)
    for key in keys.values():
        pixels = np.roll(film.pixels, int(rng.integers(0, 512)), axis=0)
        cache.put(key, PreparedFilm(pixels, film.breast_mask, film.geometry, (), ()))
    loader = BatchLoader(FilmSet(list(keys), np.zeros(films, np.int64), CachedFilms(cache, keys)), BATCH)
    seconds(lambda: drain(loader, films))
    plain = statistics.median(
        seconds(lambda: [np.asarray(Image.open(picture)) for picture in pictures(folder, film, films)]) for _ in range(3)
    )
    times = [seconds(lambda: drain(loader, films)) for _ in range(5)]
    rate = films / statistics.median(times)
    wanted = (f"{CACHE_GOAL:,} films/s", rate >= CACHE_GOAL)
    say_rate(f"warm cache, {films} films of 512 px", rate, films / plain, "PNG files with Pillow", wanted)
    process, before = psutil.Process(), psutil.Process().memory_info().rss
    for _ in range(MEMORY_EPOCHS):
        drain(loader, films)
    print(f"memory over {MEMORY_EPOCHS} epochs: {before / 2**20:.0f} to {process.memory_info().rss / 2**20:.0f} MiB")


def drain(loader: BatchLoader, films: int) -> None:
    delivered = sum(len(batch.labels) for batch in loader.batches(np.arange(films)))
    if delivered != films:
        raise ValueError(f"{delivered} of {films} films came")


def pictures(folder: Path, film: PreparedFilm, count: int) -> Iterator[Path]:
    path = folder / "film.png"
    if not path.exists():
        Image.fromarray(film.pixels).save(path)
    return (path for _ in range(count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} processors, {load()} at first")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_pairs()
        bench_table(folder)
        bench_audit(folder)
        paths = write_films(folder, chosen.films)["RLE"]
        bench_reading(folder, paths, chosen.rounds)
        bench_cache(folder, paths[0], 400)
    print(f"{load()} at the end; with a load above 2 other programs had the processors too")


if __name__ == "__main__":
    main()
