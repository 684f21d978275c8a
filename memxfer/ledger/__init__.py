"""The durable state of jobs: one folder each, one SQLite file in it, readable with plain `sqlite3`."""

from memxfer.ledger.committer import Change, ResidueLine, ResidueStore
from memxfer.ledger.containers import ContainerRow, Containers, ContainerStore, ScratchStore
from memxfer.ledger.doubts import Doubts, InDoubt
from memxfer.ledger.folder import JobFolder, StateFolder
from memxfer.ledger.ledger import Accepted, Ledger, Namesake, PartitionRow, Problem
from memxfer.ledger.opening import FirstPlan, create_ledger
from memxfer.ledger.states import State
from memxfer.ledger.text import stored_name
from memxfer.ledger.waiting import Part, Waiting

__all__ = [
    "Accepted",
    "Change",
    "ContainerRow",
    "ContainerStore",
    "Containers",
    "Doubts",
    "FirstPlan",
    "InDoubt",
    "JobFolder",
    "Ledger",
    "Namesake",
    "Part",
    "PartitionRow",
    "Problem",
    "ResidueLine",
    "ResidueStore",
    "ScratchStore",
    "State",
    "StateFolder",
    "Waiting",
    "create_ledger",
    "stored_name",
]
