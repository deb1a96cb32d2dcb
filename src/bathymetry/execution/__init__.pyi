from .earlier import others as others
from .progress import Progress as Progress
from .study_run import OUT as OUT
from .study_run import StudyRun as StudyRun
from .study_run import load_study as load_study
from .study_run import run_study as run_study
from .work import Work as Work
from .work import look as look
