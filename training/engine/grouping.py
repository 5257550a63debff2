"""Rows that belong together, found with numbers instead of objects."""

import hashlib

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def hash64(text: str | bytes) -> int:
    """Hash to a number from 1 to 2**64 - 1; 0 is free to say "none".

    Two names that fall together, once in ten million sets of a million rows, join two groups.
    """
    content = text.encode() if isinstance(text, str) else text
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) or 1


def joined(count: int, *, keys: list[np.ndarray], pairs: np.ndarray | None = None) -> np.ndarray:
    """Number the groups of rows that share a key or are a pair, directly or through others.

    keys: each [count] uint64, 0 is no key; pairs: [p, 2] rows. Returns [count] int32.
    """
    tails, heads = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for values in keys:
        named = np.flatnonzero(values)
        _, first, same = np.unique(values[named], return_index=True, return_inverse=True)
        tails.append(named)
        heads.append(named[first][same])
    if pairs is not None:
        tails.append(pairs[:, 0])
        heads.append(pairs[:, 1])
    tail, head = np.concatenate(tails), np.concatenate(heads)
    graph = coo_array((np.ones(len(tail), bool), (tail, head)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
