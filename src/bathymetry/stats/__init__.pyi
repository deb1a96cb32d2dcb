from .intervals import clopper_pearson as clopper_pearson
from .intervals import mean_interval as mean_interval
from .rank_tests import brunner_munzel as brunner_munzel
from .rank_tests import sign_test as sign_test
from .verdict import Part as Part
from .verdict import Verdict as Verdict
from .verdict import holm as holm
