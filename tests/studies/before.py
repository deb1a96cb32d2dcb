"""Judging results in the layout of studies that are not yet one class."""

from bathymetry.claims import Judgements
from bathymetry.studies.legacy import _judged


def judge(study, tree):
    settings = study.model_validate(tree.attrs["settings"])
    obstacle = settings.departure(tree)
    return Judgements(_judged(study.old, claim, tree, obstacle) for claim in study.old.claims)
