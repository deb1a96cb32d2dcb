from .group_tests import mann_whitney as mann_whitney
from .intervals import clopper_pearson as clopper_pearson
from .intervals import mean_interval as mean_interval
from .per_member import jackknife as jackknife
from .verdict import Part as Part
from .verdict import Verdict as Verdict
from .verdict import holm as holm
