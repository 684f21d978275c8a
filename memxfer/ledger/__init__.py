"""The durable state of jobs: one folder each, one SQLite file in it, readable with plain `sqlite3`."""

from memxfer.ledger.committer import Change, ResidueLine, ResidueStore
from memxfer.ledger.folder import JobFolder, StateFolder
from memxfer.ledger.ledger import Accepted, InDoubt, Ledger, PartitionRow, Problem
from memxfer.ledger.states import State

__all__ = [
    "Accepted",
    "Change",
    "InDoubt",
    "JobFolder",
    "Ledger",
    "PartitionRow",
    "Problem",
    "ResidueLine",
    "ResidueStore",
    "State",
    "StateFolder",
]
