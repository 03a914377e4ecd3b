"""Write to the table of an index until somebody kills this process: started by test_locate.py.

kill_index.py FOLDER FIRST: operations from number FIRST on; `begin N` and `end N` go to the journal on the
disk before and after each of them.
"""

import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

from landmark_nb.locate.table import FILE, VectorTable, add_rows, put_rows, remove_rows
from landmark_nb.locate.where import where_table

ROWS, DIM = 64, 32


def ids_of(block: int) -> list[str]:
    "The photographs of a block."
    return [f"{block:05d}/{i:02d}.jpg" for i in range(ROWS)]


def rows_of(block: int, edition: int) -> tuple[pl.DataFrame, np.ndarray]:
    "Rows and descriptors of a block; the edition stands in both."
    table = where_table(ids_of(block), date=[str(edition)] * ROWS, label=[str(block)] * ROWS)
    table = table.with_columns(pl.lit(edition, pl.Int64).alias(name) for name in FILE)
    return table, np.full((ROWS, DIM), edition, np.float32)


def plan(number: int) -> tuple[str, int]:
    "What an operation does, and to which block: two blocks are added, one of them is replaced, one removed."
    kinds = ("add", "add", "put", "remove")
    base = number // 4 * 2
    return kinds[number % 4], base + (number % 4 == 1)


def expected(done: int) -> dict[int, int]:
    "Block -> edition, after so many operations."
    state = {}
    for number in range(done):
        kind, block = plan(number)
        if kind == "remove":
            state.pop(block)
        else:
            state[block] = number
    return state


def work(folder: str, first: int):
    "One operation after the other, for ever."
    table = VectorTable.open(folder)
    with open(Path(folder) / "journal", "a") as journal:

        def note(text: str):
            journal.write(text + "\n")
            journal.flush()
            os.fsync(journal.fileno())

        number = first
        while True:
            kind, block = plan(number)
            note(f"begin {number}")
            if kind == "remove":
                remove_rows(table, ids_of(block), block=ROWS)
            else:
                (add_rows if kind == "add" else put_rows)(table, *rows_of(block, number))
            note(f"end {number}")
            number += 1


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
