#!/usr/bin/env python3
"""The hash in another language, to compare with: prints hash-vectors.json. Needs nothing but Python 3."""

import json
import re

M = 2**64 - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotl(x, n):
    return (x << n | x >> (64 - n)) & M


def xxh64(data):  # XXH64 with seed 0
    word = lambda at, size: int.from_bytes(data[at : at + size], "little")
    mix = lambda lane, x: rotl((lane + x * P2) & M, 31) * P1 & M
    at, h = 0, P5
    if len(data) >= 32:
        lanes = [P1 + P2 & M, P2, 0, -P1 & M]
        while at + 32 <= len(data):
            lanes = [mix(lane, word(at + 8 * i, 8)) for i, lane in enumerate(lanes)]
            at += 32
        h = sum(rotl(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18))) & M
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * P1 + P4) & M
    h = (h + len(data)) & M
    while at + 8 <= len(data):
        h, at = (rotl(h ^ mix(0, word(at, 8)), 27) * P1 + P4) & M, at + 8
    if at + 4 <= len(data):
        h, at = (rotl(h ^ word(at, 4) * P1 & M, 23) * P2 + P3) & M, at + 4
    for byte in data[at:]:
        h = rotl(h ^ byte * P5 & M, 11) * P1 & M
    h = (h ^ h >> 33) * P2 & M
    h = (h ^ h >> 29) * P3 & M
    return h ^ h >> 32


def fmix64(h):  # of MurmurHash3
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & M
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & M
    return h ^ h >> 33


def ln(h):  # of u = (2 (h >> 12) + 1) / 2^53, in this order of operations
    m, e = float(2 * (h >> 12) + 1), -53
    while m >= 1:
        m, e = m / 2, e + 1
    if m < 0.7071067811865476:
        m, e = m * 2, e - 1
    f = m - 1
    s = f / (2 + f)
    z, series = s * s, 2 / 21
    for odd in range(19, 2, -2):
        series = series * z + 2 / odd
    return e * (190530846196 / 2**38) + (f - (s * (f - series * z) - e * 1.6465949582897082e-12))


def rendezvous(key, buckets):
    def score(bucket):
        h = fmix64(xxh64(key.encode()) ^ xxh64(bucket.encode()))
        return buckets[bucket] / -ln(h), h

    return max(sorted(buckets), key=score)


def modulo(key, buckets):
    natural = lambda name: [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", name)]
    return sorted(buckets, key=natural)[xxh64(key.encode()) % len(buckets)]


KEYS = ["", "a", "abc", "iana", "brian", "user-1", "user-2", "12345678", "/users/iana/notes", "é", "Ünïcödé",
        "日本語", "😀", "Nobody inspects the spammish repetition", "x" * 31, "x" * 32, "x" * 33, "x" * 64 + "é",
        "0123456789" * 30]  # fmt: skip
KINDS = {
    "even": {f"server-{i}": 1 for i in range(11)},
    "weighted": {"small": 1, "middle": 2, "large": 5, "huge": 1000},
    "two": {"hub-0": 3, "hub-1": 3},
    "one": {"alone": 7},
}


def vectors():
    return {
        "xxh64": {key: f"{xxh64(key.encode()):016x}" for key in KEYS},
        "ln": {f"{h:016x}": ln(h) for h in [0, M, 1 << 63, *(fmix64(i) for i in range(1, 60))]},
        "kinds": {
            kind: {
                "buckets": buckets,
                "rendezvous": {key: rendezvous(key, buckets) for key in KEYS + [f"key-{i}" for i in range(60)]},
                "modulo": {key: modulo(key, buckets) for key in KEYS},
            }
            for kind, buckets in KINDS.items()
        },
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=2))
