"""Files that an attacker would write, made by hand, and chance damage to sound ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

NAMES = (
    "../x",
    "../../../../etc/cron.d/x",
    "/etc/x",
    "..",
    ".",
    "",
    "C:\\w.txt",
    "\\\\host\\share\\x",
    "a\x00b",
    "con",
    "NUL.csv",
    "lpt1",
    "x" * 300,
    "ä" * 200,
    "\u202ecod.exe",
    "a\u2066b\u2069",
    "line\nbreak",
    "tab\there",
    "bell\x07",
    "\ud800",
    "-rf",
    "~",
    "$HOME",
    "`touch x`",
    "a;touch x",
    "![x](http://evil.example/p.png)",
    "[y](http://evil.example)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "www.evil.example",
    "a@evil.example",
    "=cmd|'/C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "{{7*7}}",
    "%s%n",
    ":material/home:",
    "$\\href{http://evil.example}{x}$",
    "# head",
    "a|b",
    "aux.",
    " x ",
    "🙂" * 40,
)
"""Names and words that no file of ours has."""
WORDS = tuple(name for name in NAMES if name.isprintable() and name.strip())
NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e308",
    "-1",
    "0",
    "1.5",
    "9" * 400,
    "9" * 5000,
    "-0.0",
    "1e-320",
    "true",
    "null",
    "[]",
    "{}",
    '"x"',
    '"1"',
    "2147483648",
    "1e19",
    "[[[[]]]]",
)
"""What a number in a JSON file can be replaced with."""


class Ran:
    """Unpickling this runs a command."""

    def __init__(self, target: str, how: int = 0) -> None:
        self.target, self.how = target, how

    def __reduce__(self) -> tuple[Any, ...]:
        code = f"open({self.target!r}, 'w').close()"
        return (
            (os.system, (f"touch {self.target}",)),
            (eval, (code,)),
            (exec, (code,)),
            (os.mkdir, (self.target,)),
            (__import__("subprocess").check_call, (["touch", self.target],)),
            (__import__("importlib").import_module, ("antigravity",)),
        )[self.how]


HOWS = 5
LOSSES = {"train_losses": [2.0, 1.5, 1.2, 1.0], "val_losses": [1.9, 1.6, 1.3, 1.4]}


def hostile_pickles(canary: str) -> Iterator[tuple[str, bytes]]:
    for how in range(HOWS):
        yield f"pickle that calls {how}", pickle.dumps({**LOSSES, "x": Ran(canary, how)}, protocol=how)
    yield "pickle by hand", f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__class__\x93."
    yield "pickle with a dotted name", dotted
    yield "pickle with an extension code", b"\x80\x02\x82\x01."
    yield "pickle with a persistent id", b"\x80\x02X\x01\x00\x00\x00aQ."
    yield "pickle of getattr", b"cbuiltins\ngetattr\n(c__builtin__\nlist\nS'__class__'\ntR."
    yield "pickle with a far memo", b"\x80\x04]r\xff\xff\xff\x7f."
    yield "pickle that says it is long", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x."
    yield "pickle of a huge array", b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L9999999999L\ntS'b'\ntR."
    yield "pickle that calls itself", b"\x80\x02]q\x00h\x00a."
    bomb: list[Any] = [0.0] * 10
    for _ in range(60):
        bomb = [bomb, bomb]
    yield "pickle bomb", pickle.dumps({"train_losses": bomb})
    yield "pickle without end", b"\x80\x04(((((((((("
    yield "pickle nested", b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."


def hostile_checkpoints(canary: str) -> Iterator[tuple[str, bytes]]:
    """As ``torch.save`` writes them, with a command inside, and as no ``torch.save`` does."""
    for how in range(HOWS):
        for is_zip in (True, False):
            buffer = io.BytesIO()
            content = {"format": "mammotrace-checkpoint", "model_state": {}, "config": Ran(canary, how)}
            torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
            yield f"checkpoint that calls {how}, {'zip' if is_zip else 'legacy'}", buffer.getvalue()
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), buffer)
    yield "checkpoint of a whole module", buffer.getvalue()
    for name, value in (("list", [1]), ("tensor", torch.zeros(2)), ("number", 3), ("nothing", {}), ("numpy", np.float64(1))):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        yield f"checkpoint of a {name}", buffer.getvalue()
    yield "checkpoint that inflates", _inflating_checkpoint()
    yield "checkpoint of a tar", b"sys_info" + bytes(600)
    buffer = io.BytesIO()
    torch.save({"format": "mammotrace-checkpoint", "format_version": "x" * 2000, "model_state": 3, "config": None}, buffer)
    yield "checkpoint of wrong kinds", buffer.getvalue()
    buffer = io.BytesIO()
    torch.save({"format": "mammotrace-checkpoint", "format_version": 10**30}, buffer)
    yield "checkpoint of a far version", buffer.getvalue()


def _inflating_checkpoint() -> bytes:
    """A tensor of 400 MB of zeros, deflated to half a megabyte."""
    small = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, small)
    packed = io.BytesIO()
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            if info.filename.endswith("data/0"):
                with target.open(info.filename, "w", force_zip64=True) as file:
                    for _ in range(400):
                        file.write(bytes(2**20))
            else:
                target.writestr(info.filename, source.read(info))
    return packed.getvalue()


def hostile_arrays(canary: str) -> Iterator[tuple[str, bytes]]:
    for how in range(HOWS):
        buffer = io.BytesIO()
        np.save(buffer, np.array([Ran(canary, how)], dtype=object), allow_pickle=True)
        yield f"array that calls {how}", buffer.getvalue()
    for shape in ("(99999999999,)", "(0,)", "(-1,)", "(2, 2, 2)", "()", "(1,) * 5", "__import__('os').mkdir('x')"):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        yield f"array of shape {shape}", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64)
    yield (
        "array with an odd type",
        b"\x93NUMPY\x01\x00\x3a\x00{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (1,)}\n" + bytes(9),
    )
    yield "array with deep brackets", b"\x93NUMPY\x01\x00\xff\x7f" + b"(" * 0x7FFF


def hostile_texts(canary: str) -> Iterator[tuple[str, bytes]]:
    """JSON and YAML that is code, a bomb, or of the wrong kind."""
    for number in NUMBERS:
        yield f"JSON {number[:20]}", number.encode()
        yield f"JSON of {number[:20]}", f'{{"epochs": {number}, "train_loss": [{number}, 1.0, 0.5], "name": {number}}}'.encode()
    yield "JSON nested", b"[" * 100_000
    yield "JSON nested in keys", b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    yield "JSON with half a sign", b'{"text": "\\ud800", "message": "\\udfff", "tags": ["\\ud800"], "name": "\\ud800"}'
    yield "JSON with NUL", b'{"text": "a\\u0000b", "state": "finished\\u0000"}'
    yield "JSON with the same key", b'{"a": 1, "a": {"a": [1]}}'
    yield "JSON of a million keys", b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}"
    yield "not UTF-8", b"\xff\xfe\xfa\x00" * 50
    yield "UTF-16", '{"epoch": 1}'.encode("utf-16")
    yield "nothing", b""
    yield "blanks", b" \n" * 5000
    yield "NUL bytes", bytes(3000)
    call = f"touch {canary}"
    yield "YAML that calls", f'x: !!python/object/apply:os.system ["{call}"]\n'.encode()
    yield "YAML that builds", f"x: !!python/object/new:os.system ['{call}']\n".encode()
    yield "YAML of a module", b"x: !!python/module:antigravity\n"
    yield (
        "YAML bomb",
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(20)),
    )
    yield "YAML nested", b"a: " + b"[" * 6_000
    yield "YAML nested by dashes", b"- " * 6_000 + b"x"
    yield "YAML of questions", b"? " * 6_000 + b"x"
    for tag in (
        "!!int ''",
        "!!float ''",
        "!!bool x",
        "!!timestamp x",
        "!!binary '%'",
        "!!set x",
        "!!omap x",
        "!!null x",
        "!!merge x",
    ):
        yield f"YAML {tag}", f"epochs: {tag}\n".encode()
    for value in (
        "0x" + "f" * 6000,
        "9" * 400,
        "9" * 5000,
        "1e400",
        ".nan",
        ".inf",
        "2026-99-99",
        "0b" + "1" * 20_000,
        "1:99:99:99:99",
        "=",
        "<<",
        '"\\ud800"',
        '"\\0"',
        "[1, 2]",
        "{a: b}",
        "!x y",
        "~",
        "2026-01-01",
        "x" * 20_000,
        "'\u202e'",
        "12_____3",
        "0o9",
        "08",
    ):
        yield f"YAML {value[:12]}", f"epochs: {value}\n".encode()
        yield f"YAML name {value[:12]}", f"task: {value}\nlr: {value}\nclass_names: [{value}, b]\nseed: {value}\n".encode()
        yield f"YAML key {value[:12]}", f"? {value}\n: 3\n".encode()


def hostile_tables() -> Iterator[tuple[str, bytes]]:
    words = [word.replace('"', "") for word in WORDS]
    rows = "\n".join(f'"{word}","train",1' for word in words)
    yield "table of hostile words", f"image_id,split,fold\n{rows}\n".encode(errors="replace")
    yield (
        "table of hostile columns",
        (",".join(f'"{word}"' for word in words) + "\n" + ",".join("1" for _ in words) + "\n").encode(),
    )
    yield "table of hostile losses", b"epoch,train_loss,val_loss\n" + b"1,=cmd|x,nan\n2,1e999,inf\n3,-1e999,--\n4,1,1\n"
    yield "table with one endless line", b"epoch,train_loss\n" + b"1," * 300_000
    yield "table with many columns", b",".join(b"c%d" % n for n in range(6_000)) + b"\n" + b",".join([b"1"] * 6_000) + b"\n"
    yield "table with the same columns", b"epoch,epoch,train_loss,train_loss,train_loss\n1,2,3,4,5\n2,3,4,5,6\n"
    yield "table with open quotes", b'image_id,split\n"a,train\n"b,test\n' * 2000
    yield "table with NUL", b"image_id,split\na\x00b,train\n"
    yield "table with carriage returns", b"image_id,split\ra,train\rb,test\r"
    yield "table with a cell of a megabyte", b"image_id,split\n" + b"x" * 2**20 + b",train\n"
    yield "table of one column", b"a\n1\n2\n3\n"
    yield "table without rows", b"image_id,split\n"
    yield "table of commas", b",,,,\n,,,,\n"
    yield "table of epochs", b"epoch,loss\n" + b"".join(b"%d,0.5\n" % (10**n) for n in range(300))
    yield "XML that reads files", b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>'


def hostile_zips(canary: str) -> Iterator[tuple[str, bytes]]:
    def packed(parts: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", how) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    yield "zip that leaves", packed({"../../outside.txt": b"x", "/etc/x": b"x", "C:\\w.txt": b"x"})
    yield "zip bomb", packed({"model.json": bytes(300 * 2**20), "weights_1.safetensors": bytes(2**20)}, zipfile.ZIP_DEFLATED)
    yield (
        "zip of a hostile record",
        packed({"model.json": b'{"format": "mammotrace-model", "format_version": 1, "name": "../x"}'}),
    )
    yield "zip of a nested record", packed({"model.json": b"[" * 100_000})
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("link/x", canary)
    yield "zip with a link", buffer.getvalue()
    content = packed({"model.json": b"{}", "b": b"x" * 100})
    yield "zip with a false name", content.replace(b"model.json", b"\xff\xfe\xfd\xfc\xfb.json")
    for flag in (0x1, 0x20, 0x800, 0x2000):
        at = content.find(b"PK\1\2") + 8
        yield (
            f"zip with flag {flag:x}",
            content[:at] + struct.pack("<H", flag) + content[at + 2 :].replace(b"model", b"\xffodel", 1),
        )
    at = content.find(b"PK\1\2") + 10
    for method in (8, 9, 12, 14, 99):
        yield f"zip with method {method}", content[:at] + struct.pack("<H", method) + content[at + 2 :]
    yield "zip of many", packed({f"f{number}": b"" for number in range(4_000)})
    yield "zip cut", content[: len(content) // 2]
    yield "zip end", b"PK\5\6" + bytes(18)
    yield "zip of a far directory", b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**32 - 2, 2**32 - 2, 0)


def hostile_tensors() -> Iterator[tuple[str, bytes]]:
    for head in (
        b"{}",
        b"[",
        b'{"w":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,16]}}',
        b'{"w":{"dtype":"F64","shape":[-1],"data_offsets":[0,0]}}',
        b"{" * 2000,
    ):
        yield f"safetensors {head[:30]!r}", struct.pack("<Q", len(head)) + head + bytes(16)
    yield "safetensors of a far head", struct.pack("<Q", 2**60) + b"{}"


def hostile_events() -> Iterator[tuple[str, bytes]]:
    def record(payload: bytes) -> bytes:
        return struct.pack("<Q", len(payload)) + bytes(4) + payload + bytes(4)

    yield "events of nothing", record(b"")
    yield "events that are long", struct.pack("<Q", 2**63) + bytes(60)
    yield "events of endless numbers", record(b"\x10" + b"\xff" * 5000)
    yield "events of far steps", record(b"\x10" + b"\xff" * 9 + b"\x01" + scalar("loss", 1.0)) * 3
    yield "events of tags", b"".join(record(b"\x10\x01" + scalar(word, 1.0)) for word in WORDS)
    yield "events of NaN", b"".join(record(b"\x10%c" % step + scalar("train_loss", float("nan"))) for step in range(1, 9))


def scalar(tag: str, value: float) -> bytes:
    """Field 5 of an event: a summary with one value."""
    name = tag.encode()[:120]
    one = b"\x0a%c" % len(name) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a%c" % min(len(one), 127) + one if len(one) < 128 else b""
    return b"\x2a%c" % len(summary) + summary if len(summary) < 128 else b""


# ---- chance ---------------------------------------------------------------------------------------------------------------


def fuzzed(rng: np.random.Generator, content: bytes) -> bytes:
    """A sound file with one to four kinds of chance damage."""
    is_text = not any(byte < 9 for byte in content[:300])
    ways = (*BYTES, *(TEXT * 2 if is_text else ()))
    for _ in range(int(rng.integers(1, 5))):
        content = ways[int(rng.integers(len(ways)))](rng, content)
    return content[: 2**20]


def _at(rng: np.random.Generator, content: bytes) -> int:
    return int(rng.integers(max(1, len(content))))


def _flip(rng: np.random.Generator, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 12))):
        if changed:
            changed[_at(rng, content)] = int(rng.integers(256))
    return bytes(changed)


def _cut(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: _at(rng, content)]


def _double(rng: np.random.Generator, content: bytes) -> bytes:
    at, size = _at(rng, content), int(rng.integers(1, 400))
    return content[: at + size] + content[at:]


def _leave_out(rng: np.random.Generator, content: bytes) -> bytes:
    at = _at(rng, content)
    return content[:at] + content[at + int(rng.integers(1, 200)) :]


def _wide_number(rng: np.random.Generator, content: bytes) -> bytes:
    at = _at(rng, content)
    form, value = [("<I", 2**32 - 1), (">I", 2**31), ("<Q", 2**63), ("<H", 65535), ("<Q", 2**40)][int(rng.integers(5))]
    new = struct.pack(form, value)
    return content[:at] + new + content[at + len(new) :]


def _replace(rng: np.random.Generator, content: bytes, pattern: bytes, words: tuple[str, ...]) -> bytes:
    found = list(re.finditer(pattern, content[: 2**17]))
    if not found:
        return content
    match = found[int(rng.integers(len(found)))]
    word = words[int(rng.integers(len(words)))].encode("utf-8", "replace")
    return content[: match.start(1)] + word + content[match.end(1) :]


def _other_number(rng: np.random.Generator, content: bytes) -> bytes:
    return _replace(rng, content, rb"(-?\d+(?:\.\d+)?(?:e-?\d+)?)", NUMBERS)


def _other_word(rng: np.random.Generator, content: bytes) -> bytes:
    return _replace(rng, content, rb"([A-Za-z_][\w ]+)", tuple(json.dumps(word)[1:-1] for word in WORDS))


def _other_value(rng: np.random.Generator, content: bytes) -> bytes:
    return _replace(rng, content, rb'(?:: |, )("[^"]*"|\[[^\[\]]*\]|\{[^{}]*\}|true|false|null)', NUMBERS)


def _other_mark(rng: np.random.Generator, content: bytes) -> bytes:
    return _replace(
        rng,
        content,
        rb"([\[\]{}:,;\n\"'])",
        ("", "[", "]", "{", "}", ":", ",", '"', "'", "\n", "\r", "\t", "&", "*", "!", "%", "@"),
    )


BYTES: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (_flip, _cut, _double, _leave_out, _wide_number)
TEXT: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    _other_number,
    _other_number,
    _other_word,
    _other_value,
    _other_mark,
)
